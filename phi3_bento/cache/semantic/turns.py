"""Turns of phrase: different constructions that ask the same are brought into one form."""

from collections.abc import Callable
from typing import Final

from phi3_bento.cache.semantic.items import OWNS, Draft, Item, Part
from phi3_bento.cache.semantic.words import MODALS, listed

_IS: Final = listed("is are was were be been being")
_DOES: Final = listed("do does did")
_TRAILING: Final = listed(
    "cost take last have mean need work open close end start begin weigh arrive leave"
)
"""Verbs that a question with do has at its end, behind what they are about."""
_PARTICIPLES: Final = listed(
    "made built written eaten taken given broken frozen stolen chosen spoken sold sent bought"
    " found kept held told paid taught caught drawn driven known shown seen done worn grown thrown"
    " drunk read set put cut spelt fed spent lost won meant"
)
_NO_SUPERLATIVES: Final = listed(
    "test forest west guest interest request contest protest harvest quest chest rest nest digest"
    " honest modest invest suggest arrest behest conquest inquest midwest pest vest zest"
)


def even_out(draft: Draft) -> None:
    """Bring the question into the form in which others are compared with it."""
    for turn in _TURNS:
        turn(draft)


def _trailing_verb(draft: Draft) -> None:
    """`Does shipping to Norway cost` as `does shipping cost to Norway`."""
    if not draft.parts or _DOES.isdisjoint(draft.texts):
        return
    items = draft.parts[-1].items
    if len(items) > 1 and items[-1].kind == "content" and items[-1].word in _TRAILING:
        draft.main.append(items.pop())


def _meaning(draft: Draft) -> None:
    """`What does X mean` as `what is X`."""
    if _asks(draft, "?what") and len(draft.main) == 2 and draft.main[-1].word == "mean":
        draft.main.pop()


def _difference(draft: Draft) -> None:
    """`How do A and B differ` as `the difference between A and B`."""
    if not set(draft.asks) <= {"?how", "?explain", "?what", "?name"}:
        return
    if draft.main and draft.main[-1].word == "different" and "?how" in draft.asks:
        draft.main[-1] = Item("difference", "content", frozenset(("difference",)))
    if any(item.word == "difference" for item in draft.main):
        draft.asks = ["?what"]


def _price(draft: Draft) -> None:
    """`How much does X cost` as `what does X cost`."""
    for at, item in enumerate(draft.main):
        if item.word in ("cost", "price") and draft.asks in (["?howmuch"], ["?what"]):
            draft.asks = ["?what"]
            if at and draft.main[at - 1].word == OWNS:
                del draft.main[at - 1]
            return


def _duration(draft: Draft) -> None:
    """`How long does X take` as `how long is X`."""
    if _asks(draft, "?howlong") and len(draft.main) > 1 and draft.main[-1].word in ("take", "last"):
        draft.main.pop()


def _count(draft: Draft) -> None:
    """`How many X does Y have` as `how many X in Y`."""
    is_have = len(draft.main) > 2 and draft.main[-1].word in ("have", "contain")
    if _asks(draft, "?howmany") and is_have:
        draft.parts.append(Part("in", draft.main[1:-1]))
        draft.main = draft.main[:1]


def _happening(draft: Draft) -> None:
    """`Why does X happen` as `what causes X`."""
    is_happen = len(draft.main) > 1 and draft.main[-1].word in ("happen", "occur")
    if _asks(draft, "?why") and is_happen:
        draft.main.pop()


def _purpose(draft: Draft) -> None:
    """`What is X for` asks for its purpose."""
    if _asks(draft, "?what") and draft.parts:
        last = draft.parts[-1]
        if last.preposition == "for" and not last.items:
            draft.parts.pop()
            draft.main.append(Item("purpose", "content", frozenset(("purpose",))))


def _superlative(draft: Draft) -> None:
    """`Which river is the longest` as `the longest river`."""
    if not _asks(draft, "?what") or _IS.isdisjoint(draft.texts):
        return
    for items in [*(part.items for part in draft.parts), draft.main]:
        word = items[-1].word if len(items) > 1 else ""
        if word == "worst" or (word.endswith("est") and word not in _NO_SUPERLATIVES):
            draft.main.insert(0, items.pop())
            return


def _passive(draft: Draft) -> None:
    """`How is cheese made` as `how to make cheese`, `was A bought by B` as `did B buy A`."""
    main = draft.main
    if not main or _IS.isdisjoint(draft.texts) or not _is_participle(main[-1]):
        return
    by = [part for part in draft.parts if part.preposition == "by"]
    if "?who" in draft.asks:
        if len(by) == 1 and not by[0].items:
            draft.parts.remove(by[0])
            main.insert(0, main.pop())
        else:
            main.append(Item("passive", "role", frozenset(("passive",))))
    elif len(main) > 1:
        agent = by[0].items if len(by) == 1 else []
        first = 1 if main[0].word in MODALS else 0
        draft.main = [*main[:first], *agent, main[-1], *main[first:-1]]
        draft.parts = [part for part in draft.parts if not agent or part is not by[0]]
        draft.asks = ["?howto" if ask == "?how" else ask for ask in draft.asks]


def _is_participle(item: Item) -> bool:
    is_regular = item.word.endswith("ed") and len(item.meanings) > 1
    return item.kind == "content" and (is_regular or item.word in _PARTICIPLES)


def _asks(draft: Draft, ask: str) -> bool:
    return draft.asks == [ask]


_TURNS: Final[tuple[Callable[[Draft], None], ...]] = (
    _trailing_verb,
    _passive,
    _meaning,
    _difference,
    _price,
    _duration,
    _count,
    _happening,
    _purpose,
    _superlative,
)
