"""How the guards read a question: what is asked for, and of which things in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phi3_bento.cache.semantic.items import OWNS, Draft, Item, Kind, Part, Word
from phi3_bento.cache.semantic.phrases import ADDRESSED, phrased
from phi3_bento.cache.semantic.scan import scan
from phi3_bento.cache.semantic.turns import even_out
from phi3_bento.cache.semantic.words import (
    ARTICLES,
    LANGUAGES,
    MODALS,
    NEGATIONS,
    ONLY_PAST,
    OPENERS,
    PERSONS,
    PREPOSITIONS,
    SILENT,
    UNITS,
    forms,
    listed,
    meanings,
)

_OF: Final = "of"
_BEFORE_NOUNS: Final = listed("?what ?give ?name ?about ?explain ?write")
_OWNS: Final = Item(OWNS, "role", frozenset((OWNS,)))
_LINKS: Final[dict[str, Item | str]] = {_OF: _OF, OWNS: _OWNS}
_LETTERED: Final = listed(
    "vitamin hepatitis type plan option group section grade class team part level blood"
)
_CLAUSES: Final = OPENERS | {"that", "which", "who"}
"""Words that end what a preposition belongs to."""
_PAST: Final = listed("was were did had been")
_AUXILIARIES: Final = MODALS | listed("is are am be being do does has have get to")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question says."""

    asks: tuple[str, ...]
    """Kinds of question in it, sorted."""
    main: tuple[Item, ...]
    """What belongs to no preposition, in order; what something is `of` stands before it."""
    parts: tuple[Part, ...]
    persons: frozenset[str]
    is_past: bool
    is_future: bool
    is_addressed: bool
    """It asks how you do something; that may be anybody, or who answers."""
    is_command: bool

    @property
    def items(self) -> list[Item]:
        """All words that count."""
        return [*self.main, *(item for part in self.parts for item in part.items)]


def read(text: str) -> Reading:
    """Read a question of some dozen words."""
    words = scan(text)
    texts = [word.text for word in words if word.kind is Kind.WORD]
    pieces = list(phrased(words))
    asks = [piece.text for piece in pieces if piece.text.startswith("?") and len(piece.text) > 1]
    persons = frozenset(PERSONS[piece.text] for piece in pieces if piece.text in PERSONS)
    builder = _Builder(asks, keeps_persons=len(persons) > 1)
    for place, piece in enumerate(pieces):
        builder.take(piece, pieces[place + 1 :])
    main, parts = builder.done()
    draft = Draft(asks, main, parts, frozenset(texts))
    even_out(draft)
    return Reading(
        asks=tuple(sorted(draft.asks)),
        main=tuple(draft.main),
        parts=tuple(draft.parts),
        persons=persons,
        is_past=_is_past(texts),
        is_future="will" in texts or "shall" in texts or {"going", "to"} <= set(texts),
        is_addressed=any(piece.text == ADDRESSED for piece in pieces),
        is_command=not {"?give", "?name", "?write"}.isdisjoint(asks) or not asks,
    )


def _is_past(texts: Sequence[str]) -> bool:
    """Told by a verb that can only be past, or that has no other verb to help it."""
    if any(text in _PAST or text in ONLY_PAST for text in texts):
        return True
    return _AUXILIARIES.isdisjoint(texts) and any(
        text.endswith("ed") and len(forms(text)) > 1 for text in texts
    )


class _Builder:
    """Sorts the pieces of a question into its parts."""

    def __init__(self, asks: list[str], keeps_persons: bool) -> None:
        self._asks = asks
        self._keeps_persons = keeps_persons
        self._parts: list[Part] = []
        self._pending: list[tuple[Item | str, bool]] = []
        self._preposition = ""
        self._after_article = self._after_a = False
        self._opens = True

    def done(self) -> tuple[list[Item], list[Part]]:
        """What stands alone, and the parts."""
        self._close()
        main = [item for part in self._parts if not part.preposition for item in part.items]
        return main, [part for part in self._parts if part.preposition]

    def take(self, piece: Word, rest: Sequence[Word]) -> None:
        """Put the next piece where it belongs."""
        text = piece.text
        if piece.kind is Kind.MARK or (text.startswith("?") and len(text) > 1):
            self._close()
            self._opens = piece.kind is Kind.MARK
            self._after_article = text in _BEFORE_NOUNS
            return
        opens, self._opens = self._opens, False
        if text == ADDRESSED:
            return
        if piece.kind is not Kind.WORD:
            self._add(_item(piece))
        elif opens and text in OPENERS and not self._asks:
            self._asks.append("?yesno")
            if text in MODALS:
                self._add(_item(piece))
        elif text == "to" and not _is_direction(rest):
            if self._preposition:
                self._close()
        elif text in PREPOSITIONS:
            self._close(PREPOSITIONS[text])
        elif text in ("what", "which") and self._preposition and not self._pending:
            self._asks.append("?what")
        else:
            self._take_word(piece, rest)

    def _take_word(self, piece: Word, rest: Sequence[Word]) -> None:
        text = piece.text
        if text in _CLAUSES and self._preposition and (self._pending or self._preposition == "by"):
            self._close()
        if text in _LINKS:
            self._pending.append((_LINKS[text], False))
        elif text in ARTICLES:
            self._take_article(piece, is_last=not rest or rest[0].kind is Kind.MARK)
        elif text in PERSONS:
            self._take_person(text)
        elif not self._is_silent(text, is_last=not rest or rest[0].kind is Kind.MARK):
            self._add(_item(piece, one=self._after_a))

    def _take_article(self, piece: Word, is_last: bool) -> None:
        self._take_person(piece.text)
        if is_last or self._is_lettered():
            self._add(_item(piece))
        self._after_article, self._after_a = True, piece.text in ("a", "an")

    def _take_person(self, text: str) -> None:
        if self._keeps_persons and text in PERSONS:
            self._add(Item(PERSONS[text], "role", frozenset((PERSONS[text],))))

    def _is_silent(self, text: str, is_last: bool) -> bool:
        if text in ("do", "does") and self._pending:
            return text == "does" and not is_last
        return text in SILENT or text in ("that", "which", "who")

    def _is_lettered(self) -> bool:
        """Vitamin a, plan a: no article."""
        last = self._pending[-1][0] if self._pending else ""
        return isinstance(last, Item) and last.word in _LETTERED

    def _add(self, item: Item) -> None:
        self._pending.append((item, self._after_article))
        self._after_article = self._after_a = False

    def _close(self, preposition: str = "") -> None:
        if self._pending or self._preposition:
            self._parts.append(Part(self._preposition, _inverted(self._pending)))
        self._pending = []
        self._preposition = preposition
        self._after_article = self._after_a = False


def _is_direction(rest: Sequence[Word]) -> bool:
    """`To` leads to a thing and not to a verb."""
    if not rest or rest[0].kind is not Kind.WORD:
        return True
    return rest[0].text in ARTICLES or rest[0].text in PERSONS


def _inverted(pending: list[tuple[Item | str, bool]]) -> list[Item]:
    """`The capital of France` as `France capital`."""
    places = [place for place, (item, _) in enumerate(pending) if item == _OF]
    for place in reversed(places):
        begins = [start for start in range(place) if pending[start][1]]
        start = begins[-1] if begins else max(place - 1, 0)
        owned, owner = pending[start:place], pending[place + 1 :]
        pending = [*pending[:start], *owner, (_OWNS, False), *owned]
    return [item for item, _ in pending if isinstance(item, Item)]


def _item(piece: Word, one: bool = False) -> Item:
    text = piece.text
    if piece.kind is Kind.NUMBER or (any(sign.isdigit() for sign in text) and not text.islower()):
        return Item(text, "number", piece.forms)
    if piece.kind is Kind.UNIT or text in UNITS:
        return Item(text, "unit", piece.forms)
    if piece.kind is Kind.NAME:
        return Item(text, "name", piece.forms)
    kind = "negation" if not piece.forms.isdisjoint(NEGATIONS) else "content"
    is_plural = text.endswith("s") and len(piece.forms) > 1
    return Item(text, kind, meanings(text), "one" if one else "many" if is_plural else "")


def is_language(items: Sequence[Item]) -> bool:
    """The items are the name of a language."""
    return len(items) == 1 and items[0].word.rstrip("^") in LANGUAGES
