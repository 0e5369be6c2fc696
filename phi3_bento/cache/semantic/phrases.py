"""Puts what a phrase means in its place: "how can I", "what is the way to" ask the same."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from phi3_bento.cache.semantic.items import Kind, Word
from phi3_bento.cache.semantic.words import COMMANDS, LANGUAGES, UNITS, entries, forms, listed

ADDRESSED: Final = "~you"
"""Stands where a phrase had `you` in it: how do you."""
_WHEN_ADDRESSED: Final = listed("how where when what which at for")
_HOLES: Final = frozenset("#@%")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand for others."""

    words: tuple[str, ...]
    meaning: tuple[str, ...]
    only_opens: bool
    """It means this only where a clause begins."""

    @property
    def left(self) -> int:
        """Words at its end that have to follow and stay."""
        is_named = any(word.startswith("$") for word in self.meaning)
        return int(not is_named and self.words[-1] in _HOLES)


Table = dict[str, list[Phrase]]


def _read(lines: Iterable[str]) -> Table:
    by_first: dict[str, list[Phrase]] = defaultdict(list)
    for line in lines:
        meaning, _, ways = line.partition("= ")
        only_opens = meaning.startswith("^")
        for way in ways.split(" | "):
            for words in _expanded(way):
                phrase = Phrase(words, tuple(meaning.removeprefix("^").split()), only_opens)
                by_first[words[0]].append(phrase)
    return dict(by_first)


def _expanded(way: str) -> Iterator[tuple[str, ...]]:
    """Each way to say `a/b c?`."""
    choices = []
    for part in way.split():
        words = part.removesuffix("?").split("/") if part != "?" else ["?"]
        choices.append([*words, ""] if part.endswith("?") and part != "?" else words)
    for chosen in product(*choices):
        yield tuple(word for word in chosen if word)


TERMS: Final = _read(entries("terms"))
PHRASES: Final = _read(entries("phrases"))


def phrased(words: Sequence[Word]) -> list[Word]:
    """The words with the meanings of phrases in their places."""
    return list(_replaced(list(_replaced(words, TERMS)), PHRASES))


def _replaced(words: Sequence[Word], table: Table) -> Iterator[Word]:
    place, opens = 0, True
    while place < len(words):
        if opens and table is PHRASES and _is_polite(words[place : place + 4]):
            place += 2
        elif phrase := _phrase_at(words[place:], table, opens):
            used = len(phrase.words) - phrase.left
            yield from _meaning(phrase, words[place : place + used])
            opens = opens and not phrase.meaning
            place += used
        else:
            opens = words[place].kind is Kind.MARK
            yield words[place]
            place += 1


def _is_polite(words: Sequence[Word]) -> bool:
    """`Can you` before what one may ask somebody to do."""
    texts = [word.text for word in words if word.text not in ("please", "kindly")]
    asks = texts[:1] and texts[0] in ("can", "could", "will", "would")
    return bool(asks and texts[1:2] == ["you"] and texts[2:] and texts[2] in COMMANDS)


def _phrase_at(words: Sequence[Word], table: Table, opens: bool) -> Phrase | None:
    word = words[0]
    firsts = [*_forms(word), *(hole for hole in _HOLES if _fills(hole, word))]
    found = [
        phrase
        for first in firsts
        for phrase in table.get(first, ())
        if (opens or not phrase.only_opens)
        and len(phrase.words) <= len(words)
        and all(map(_fills, phrase.words, words))
    ]
    return max(found, key=lambda phrase: len(phrase.words), default=None)


def _fills(pattern: str, word: Word) -> bool:
    if pattern == "#":
        return word.kind is Kind.NUMBER
    if pattern == "@":
        return word.kind is Kind.UNIT
    if pattern == "%":
        return word.text.rstrip("^") in LANGUAGES
    return not word.is_literal and pattern in _forms(word)


def _forms(word: Word) -> frozenset[str]:
    """Its forms; whether something was or is, the tense tells."""
    return word.forms | {{"was": "is", "were": "are", "an": "a"}.get(word.text, word.text)}


def _meaning(phrase: Phrase, words: Sequence[Word]) -> Iterator[Word]:
    asks = phrase.meaning[:1]
    if asks and asks[0] != "?translate" and "you" in phrase.words and _is_about_how(phrase):
        yield _plain_word(ADDRESSED)
    pairs = zip(phrase.words, words, strict=False)
    holes = [word for pattern, word in pairs if pattern in _HOLES]
    for meant in phrase.meaning:
        if meant.startswith("$"):
            yield holes[int(meant[1:]) - 1]
        elif meant == ",":
            yield Word(meant, Kind.MARK, frozenset(","))
        else:
            yield _plain_word(meant)
    if asks and phrase.words[-1] in ("a", "an"):
        yield _plain_word("a")


def _is_about_how(phrase: Phrase) -> bool:
    return phrase.words[0] in _WHEN_ADDRESSED


def _plain_word(text: str) -> Word:
    return Word(text, Kind.UNIT if text in UNITS else Kind.WORD, forms(text))
