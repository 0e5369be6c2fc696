"""Whether an answer kept for one question may be given to another: English, pure, and strict.

Two vectors close to each other say that two questions are about the same. They do not say that
both ask the same: "enable 2FA" and "disable 2FA" are nearly one vector. The guards read both
questions and refuse at the first thing that one has and the other lacks. Unsure is a refusal.
"""

import re
from collections.abc import Callable
from itertools import product
from typing import Final

from phi3_bento.cache.semantic.items import OWNS
from phi3_bento.cache.semantic.matching import is_same_order, means_of, without_partner
from phi3_bento.cache.semantic.reading import Reading, is_language, read
from phi3_bento.cache.semantic.scan import TYPOGRAPHY
from phi3_bento.cache.semantic.words import (
    ADDRESSING,
    ENGLISH,
    FOREIGN,
    FORMATS,
    NEGATIONS,
    SUPERLATIVES,
    TIMES,
    are_opposites,
)

MAX_CHARACTERS = 400
"""Longer texts are equal or refused: what they say is not read."""
MAX_WORDS = 60

_STRUCTURE: Final = re.compile(r"[\n\r\t{}\[\]<>\\|;=^~]|\((?!\))|```")
"""Code, JSON, markup, formulas: every sign may count."""
_VERBATIM: Final = re.compile("[\"'`:\u2018\u201c\u201d]")
_OUTSIDE_ENGLISH: Final = re.compile(r"[^\x20-\x7e°€£]")
_EQUALS_WHAT: Final = re.compile(r"=\s?\??\s*$")
_WORD: Final = re.compile(r"[A-Za-z]+")
_WHAT, _NAME, _GIVE, _WRITE = ("?what",), ("?name",), ("?give",), ("?write",)
_SAME_ASKS: Final = {frozenset(((), _WHAT)), frozenset((_GIVE, _WRITE))}
_SAME_RICH_ASKS: Final = {
    frozenset(pair)
    for pair in ((_WHAT, _NAME), (_WHAT, _GIVE), (_NAME, _GIVE), ((), _NAME), ((), _GIVE))
}
"""Of more than one word: what is a doctor, and give me a doctor, are two wishes."""


def refusal(asked: str, kept: str) -> str | None:
    """The guard that refuses to answer `asked` with what was answered to `kept`; None: none does.

    The work is bounded: only short texts are read.
    """
    if _plain(asked) == _plain(kept):
        return None
    for text in (asked, kept):
        if len(text) > MAX_CHARACTERS or len(text.split()) > MAX_WORDS:
            return "length"
        if _STRUCTURE.search(_EQUALS_WHAT.sub("", text)):
            return "structure"
        if not _is_english(text):
            return "language"
    one, other = read(asked), read(kept)
    for guard, refuses in _GUARDS.items():
        if refuses(one, other):
            return guard
    return _unmatched(one, other) or _out_of_place(one, other)


def _plain(text: str) -> str:
    """The text without what never means anything: space around it; and, where nothing is quoted,
    the width of space and a final full stop. Case stays: Polish is not polish.
    """
    text = text.strip()
    if len(text) > 100_000 or _STRUCTURE.search(text) or _VERBATIM.search(text):
        return text
    return " ".join(text.split()).removesuffix(".")


def _is_english(text: str) -> bool:
    text = text.translate(TYPOGRAPHY)
    if _OUTSIDE_ENGLISH.search(text):
        return False
    words = [word.lower() for word in _WORD.findall(text)]
    foreign = sum(word in FOREIGN for word in words)
    english = sum(word in ENGLISH for word in words)
    return foreign <= 1 and (english > foreign or (len(words) <= 4 and not foreign))


def _other_question(one: Reading, other: Reading) -> bool:
    asks = frozenset((_asks(one), _asks(other)))
    if len(asks) == 1:
        return False
    is_rich = min(len(one.items), len(other.items)) > 1
    return not (asks in _SAME_ASKS or (is_rich and asks in _SAME_RICH_ASKS))


def _asks(reading: Reading) -> tuple[str, ...]:
    """What is asked for; "what is X in French" asks for a translation."""
    if reading.asks == ("?what",) and len(reading.parts) == 1:
        part = reading.parts[0]
        if part.preposition == "in" and is_language(part.items):
            return ("?translate",)
    return reading.asks


def _other_time(one: Reading, other: Reading) -> bool:
    return (one.is_future, one.is_past) != (other.is_future, other.is_past)


def _other_person(one: Reading, other: Reading) -> bool:
    """I or you, he or she; `how do you` is how anybody does, unless somebody owns something."""
    if one.is_addressed != other.is_addressed:
        is_personal = any(not item.meanings.isdisjoint(ADDRESSING) for item in one.items)
        if is_personal or one.persons or other.persons:
            return True
    return not one.persons ^ other.persons <= {"i"}


def _other_count(one: Reading, other: Reading) -> bool:
    """An example is asked for, or examples."""
    if not (one.is_command and other.is_command):
        return False
    return any(
        item.means(each) and {item.number, each.number} == {"one", "many"}
        for item in one.items
        for each in other.items
    )


_GUARDS: Final[dict[str, Callable[[Reading, Reading], bool]]] = {
    "question": _other_question,
    "time": _other_time,
    "role": _other_person,
    "format": _other_count,
}


def _out_of_place(one: Reading, other: Reading) -> str | None:
    """The guard of words that both have, in places or with prepositions that differ."""
    if is_same_order(one, other):
        return None
    ours, theirs = ({part.preposition for part in each.parts} for each in (one, other))
    if not (ours ^ theirs).isdisjoint(NEGATIONS):
        return "negation"
    pairs = product(ours - theirs, theirs - ours)
    return "antonym" if any(are_opposites(*pair) for pair in pairs) else "role"


def _unmatched(one: Reading, other: Reading) -> str | None:
    """The guard of the first word without a partner in the other question."""
    ours, theirs = without_partner(one.items, other.items, means_of(one, other))
    lonely = [item for item in (*ours, *theirs) if item.word != OWNS]
    if not lonely:
        return None
    kinds = {item.kind for item in lonely}
    for kind in ("negation", "number", "unit", "name"):
        if kind in kinds:
            return kind
    if any(are_opposites(item.word, each.word) for item in ours for each in theirs):
        return "antonym"
    for guard, words in (("time", TIMES), ("format", FORMATS), ("scope", SUPERLATIVES)):
        if any(item.word in words for item in lonely):
            return guard
    return "role" if kinds == {"role"} else "content"
