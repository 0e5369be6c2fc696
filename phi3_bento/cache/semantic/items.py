"""What a question is taken apart into: words, then items in parts."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OWNS: Final = "'s"
"""What stands before it owns what stands behind it."""


class Kind(StrEnum):
    """What a word is."""

    WORD = "word"
    NAME = "name"
    """Stands for itself alone: capitalised, an identifier, a path, quoted."""
    NUMBER = "number"
    UNIT = "unit"
    MARK = "mark"
    """Punctuation."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a question."""

    text: str
    """In lower case; a number in digits, a unit by its usual name."""
    kind: Kind
    forms: frozenset[str]
    """What the word may be an inflection of, and itself."""
    is_literal: bool = False
    """It was quoted."""
    opens: bool = False
    """First of its sentence: a capital letter says nothing there."""
    surface: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A word that counts."""

    word: str
    kind: str
    """The guard that refuses where the other question has no such word."""
    meanings: frozenset[str]
    number: str = ""
    """`one` after a or an, `many` in the plural."""

    def means(self, other: "Item") -> bool:
        """Either word may stand for the other; boring is not bored."""
        endings = {self.word[-2:], other.word[-2:]}
        return endings != {"ed", "ng"} and not self.meanings.isdisjoint(other.meanings)


@dataclass(slots=True)
class Part:
    """A stretch of a question: what one preposition belongs to, or what stands alone."""

    preposition: str = ""
    items: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A question that was taken apart, before its turns of phrase are evened out."""

    asks: list[str]
    """Kinds of question in it."""
    main: list[Item]
    """What belongs to no preposition, in order; what something is `of` stands before it."""
    parts: list[Part]
    texts: frozenset[str]
    """All its words as they were written, in lower case."""
