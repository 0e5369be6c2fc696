"""Numbers written as words become digits; words with a capital letter become names."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from phi3_bento.cache.semantic.items import Kind, Word
from phi3_bento.cache.semantic.words import CASED, DAYS, listed

_SMALL: Final = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""
_ORDERED: Final = "first second third fourth fifth sixth seventh eighth ninth tenth"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}


def _places(text: str, start: int = 0, factor: int = 1) -> dict[str, int]:
    return {word: factor * value for value, word in enumerate(text.split(), start)}


_VALUES: Final = _places(_SMALL) | _places(_TENS, 2, 10) | {"dozen": 12}
_ORDINALS: Final = {word: f"{value}th" for word, value in _places(_ORDERED, 1).items()}
_NOT_COUNTED: Final = listed("which this that no each every any the another")


def valued(words: Sequence[Word]) -> Iterator[Word]:
    """The words with written numbers as digits, and capitalised words as names."""
    spelled: list[Word] = []
    opens, before, was_name = True, "", False
    for word in words:
        if spelled and not _continues(spelled[-1], word):
            yield _number_of(spelled)
            spelled, before = [], "1"
        if _value(word, before) is not None:
            spelled.append(word)
        elif before[-1:].isdigit() and word.text in ("am", "pm"):
            yield replace(word, kind=Kind.UNIT)
        elif word.surface == "I" and was_name:
            yield replace(word, kind=Kind.NAME)
        else:
            named = _named(replace(word, opens=opens))
            was_name = named.kind is Kind.NAME and named.text.isalpha()
            yield named
        opens = word.kind is Kind.MARK and word.text in ".?!:"
        before = word.text
    if spelled:
        yield _number_of(spelled)


def _continues(last: Word, word: Word) -> bool:
    is_ones = 0 < _VALUES.get(word.text, 0) < 10
    return _value(word, "") is not None and (
        word.text in _SCALES
        or last.text in _SCALES
        or (_VALUES.get(last.text, 0) >= 20 and is_ones)
    )


def _number_of(spelled: Sequence[Word]) -> Word:
    total = part = 0
    for word in spelled:
        scale = _SCALES.get(word.text)
        if scale is None:
            part += _VALUES[word.text]
        elif scale == 100:
            part = max(part, 1) * scale
        else:
            total, part = total + max(part, 1) * scale, 0
    digits = str(total + part)
    surface = " ".join(word.surface for word in spelled)
    return Word(digits, Kind.NUMBER, frozenset((digits,)), surface=surface)


def _value(word: Word, before: str) -> int | None:
    if word.kind is not Kind.WORD or (word.text == "one" and before in _NOT_COUNTED):
        return None
    return _SCALES.get(word.text, _VALUES.get(word.text))


def _named(word: Word) -> Word:
    if word.kind is not Kind.WORD:
        return word
    if word.text in _ORDINALS:
        text = _ORDINALS[word.text]
        return replace(word, text=text, kind=Kind.NUMBER, forms=frozenset((text, word.text)))
    surface = word.surface.partition("'")[0]
    is_shouted = surface.isupper() and len(surface) > 1
    is_capital = surface[:1].isupper() and surface != "I" and not word.opens
    if not (is_shouted or is_capital or (surface[1:] != surface[1:].lower())):
        return word
    text = f"{word.text}^" if word.text in CASED else word.text
    plural = {text[:-1]} if text[:-1] in DAYS else set()
    return replace(word, text=text, kind=Kind.NAME, forms=frozenset({text} | plural))
