"""Finds for each word of a question its partner in another, and whether both stand in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from phi3_bento.cache.semantic.items import OWNS, Item, Part
from phi3_bento.cache.semantic.reading import Reading, is_language
from phi3_bento.cache.semantic.words import CODE_LANGUAGES, MODALS, PLACES, WORDINGS

Means = Callable[[Item, Item], bool]


def means_of(one: Reading, other: Reading) -> Means:
    """Where a text speaks of words, or of one thing alone, no word stands for another."""
    for reading in (one, other):
        is_definition = reading.asks in (("?what",), ()) and len(reading.items) <= 1
        if is_definition or "?translate" in reading.asks:
            return _is_same_word
        if not all(item.meanings.isdisjoint(WORDINGS) for item in reading.items):
            return _is_same_word
    return Item.means


def _is_same_word(item: Item, other: Item) -> bool:
    if item.word == other.word or "name" in (item.kind, other.kind):
        return item.means(other)
    return not WORDINGS.isdisjoint(item.meanings & other.meanings)


def without_partner(
    ours: Iterable[Item], theirs: Iterable[Item], means: Means
) -> tuple[list[Item], list[Item]]:
    """The items of either question that nothing in the other stands for."""
    left, lonely = list(theirs), []
    for item in ours:
        partner = next((each for each in left if each.word == item.word), None)
        partner = partner or next((each for each in left if means(item, each)), None)
        if partner is None:
            lonely.append(item)
        else:
            left.remove(partner)
    return lonely, left


def is_same_order(one: Reading, other: Reading) -> bool:
    """Who does what to whom, from where and to where: all words stand in the same places."""
    means = means_of(one, other)
    if _is_symmetric(one) and _is_symmetric(other):
        return True
    ours, theirs = _unequal_parts(one.parts, other.parts, means)
    if ours and theirs:
        return False
    if ours:
        return _is_compound(one.main, ours, other.main, means)
    return _is_compound(other.main, theirs, one.main, means)


def _is_compound(
    main: Sequence[Item], parts: Iterable[Part], whole: Sequence[Item], means: Means
) -> bool:
    """`Function` with `in Python` is `Python function`, `tower in Paris` is `Paris's tower`."""
    rest = list(whole)
    for part in parts:
        size = len(part.items)
        starts = range(len(rest) - size + 1)
        found = [at for at in starts if _in_order(part.items, rest[at : at + size], means)]
        is_name = all(item.kind == "name" for item in part.items)
        if part.preposition != "in" or not (size and is_name and found):
            return False
        del rest[found[0] : found[0] + size]
        if found[0] < len(rest) and rest[found[0]].word == OWNS:
            del rest[found[0]]
    return _in_order(main, rest, means)


def _in_order(ours: Sequence[Item], theirs: Sequence[Item], means: Means) -> bool:
    if len(ours) != len(theirs):
        return False
    return any(all(map(means, ours, choice)) for choice in _choices(theirs))


def _choices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items; and where there is one `or`, with its two sides changed."""
    yield items
    places = [place for place, item in enumerate(items) if item.word == "or"]
    if len(places) == 1 and 0 < places[0] < len(items) - 1:
        at = places[0]
        yield [*items[: at - 1], items[at + 1], items[at], items[at - 1], *items[at + 2 :]]
        first = 1 if items[0].word in MODALS else 0
        yield [*items[:first], *items[at + 1 :], items[at], *items[first:at]]


def _is_symmetric(reading: Reading) -> bool:
    """Both of two things are asked about, whichever comes first."""
    is_short = len(reading.items) <= 6 and len(reading.parts) <= 2
    return is_short and any(item.word in ("difference", "distance") for item in reading.items)


def _unequal_parts(
    ours: Iterable[Part], theirs: Iterable[Part], means: Means
) -> tuple[list[Part], list[Part]]:
    left, lonely = list(theirs), []
    for part in ours:
        partner = next((each for each in left if _same_part(part, each, means)), None)
        if partner is None:
            lonely.append(part)
        else:
            left.remove(partner)
    return lonely, left


def _same_part(part: Part, other: Part, means: Means) -> bool:
    both = {part.preposition, other.preposition}
    return (len(both) == 1 or _is_same_place(both, part.items)) and _in_order(
        part.items, other.items, means
    )


def _is_same_place(prepositions: set[str], items: Sequence[Item]) -> bool:
    """On Windows, in Windows; to French, in French; with Python, in Python."""
    if is_language(items):
        return prepositions == {"in", "to"}
    if all(item.word in CODE_LANGUAGES for item in items):
        return bool(items) and prepositions == {"in", "with"}
    return all(item.kind == "name" for item in items) and prepositions <= PLACES
