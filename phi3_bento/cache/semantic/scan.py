"""Cuts a question into words, numbers, names and literal text; every sign ends up somewhere."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from phi3_bento.cache.semantic.items import OWNS, Kind, Word
from phi3_bento.cache.semantic.numbers import valued
from phi3_bento.cache.semantic.words import UNITS, forms, listed

TYPOGRAPHY: Final = str.maketrans({
    "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": ",",  # noqa: RUF001
    "…": ".", "\u00a0": " ", "×": "*", "÷": "/", "−": "-",
})  # fmt: skip
_QUOTED = re.compile(r"\"([^\"]*)\"|(?<![\w'])'([^']*)'(?!\w)|`([^`]*)`")
_OPERATOR = re.compile(r"(?<=\d)\s?([+*/×÷-])\s?(?=\d)")
_BEHIND_COLON = re.compile(r":\s+(?=\S)")
_EQUALS_WHAT = re.compile(r"=\s?\??$")
_NUMBER = re.compile(r"([$€£]?)(-?(?:\d{1,3}(?:,\d{3})+|\d+))((?:\.\d+)?)(%|[A-Za-z°]*)")
_OPERATORS: Final = {"+": "plus", "-": "minus", "*": "times", "/": "divide"}
_CURRENCIES: Final = {"$": "dollar", "€": "euro", "£": "gbp"}
_PLAIN = re.compile(r"[A-Za-z]+")
_CONTRACTED: Final = {
    "can't": "can not", "cant": "can not", "cannot": "can not", "won't": "will not",
    "wont": "will not", "shan't": "shall not", "let's": "let us", "dont": "do not",
    "doesnt": "does not", "didnt": "did not", "isnt": "is not", "arent": "are not",
    "wasnt": "was not", "im": "i am", "ive": "i have", "whats": "what is", "hows": "how is",
    "wheres": "where is", "whos": "who is", "gonna": "going to", "wanna": "want to",
    "u": "you", "pls": "please", "plz": "please", "thx": "thanks",
}  # fmt: skip
_ENDINGS: Final = {
    "n't": "not",
    "'re": "are",
    "'ve": "have",
    "'ll": "will",
    "'d": "would",
    "'m": "am",
}
_IS_AFTER: Final = listed("what who where when why how that there here it he she")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")


def scan(text: str) -> list[Word]:
    """The words of a text, in order."""
    text = _EQUALS_WHAT.sub("?", text.strip().translate(TYPOGRAPHY))
    colon = _BEHIND_COLON.search(text)
    if colon and _is_payload(text[: colon.start()], text[colon.end() :]):
        payload = text[colon.end() :].removesuffix(".")
        return [*_words_of(text[: colon.start() + 1]), _literal(payload)]
    return _words_of(text)


def _is_payload(before: str, behind: str) -> bool:
    """What stands behind a colon is the text to work on, unless it is quoted as that."""
    is_inside_quote = before.count('"') % 2 == 1
    return not is_inside_quote and _QUOTED.sub("", behind).strip(" .?!") != ""


def _words_of(text: str) -> list[Word]:
    words: list[Word] = []
    end = 0
    for quote in _QUOTED.finditer(text):
        words += _plain_words(text[end : quote.start()])
        words += _literal_words(next(group for group in quote.groups() if group is not None))
        end = quote.end()
    words += _plain_words(text[end:])
    return list(valued(words))


def _literal_words(text: str) -> Iterator[Word]:
    """Short quotes word for word, as another may write them without the marks."""
    chunks = text.split()
    is_plain = " ".join(chunks) == text and len(chunks) <= 4
    if is_plain and all(_PLAIN.fullmatch(chunk) for chunk in chunks):
        for chunk in chunks:
            yield _literal(chunk)
    else:
        yield _literal(text.removesuffix("."))


def _literal(text: str) -> Word:
    return Word(text, Kind.NAME, frozenset((text,)), is_literal=True, surface=text)


def _plain_words(text: str) -> Iterator[Word]:
    text = _OPERATOR.sub(r" \1 ", text).replace("&", " and ")
    for chunk in text.split():
        body = chunk.lstrip("\"'").rstrip("\"',;:.!?")
        if chunk in _OPERATORS:
            yield _word(_OPERATORS[chunk], chunk)
        elif body:
            yield from _body(body)
        behind = chunk[chunk.rfind(body) + len(body) :] if body else chunk
        for mark in behind:
            if mark in ",;:.!?":
                yield Word(mark, Kind.MARK, frozenset((mark,)), surface=mark)


def _body(body: str) -> Iterator[Word]:
    if number := _NUMBER.fullmatch(body):
        yield from _number(number, body)
    elif _PLAIN.fullmatch(body) and body.lower() not in _CONTRACTED:
        yield _word(body, body)
    elif re.fullmatch(r"[A-Za-z']+", body):
        yield from _contracted(body)
    elif re.fullmatch(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+", body) and not body.isupper():
        for part in body.split("-"):
            yield from _body(part)
    elif re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", body):
        yield _word(body.replace(".", ""), body)
    elif re.fullmatch(r"[A-Za-z]+/[A-Za-z]+", body):
        yield from (_word(part, part) for part in body.split("/"))
    else:
        yield replace(_literal(body), is_literal=False)


def _number(found: re.Match[str], body: str) -> Iterator[Word]:
    currency, whole, fraction, unit = found.groups()
    digits = whole.replace(",", "") + fraction
    if _ORDINAL.fullmatch(body):
        yield _word(body, body, Kind.NUMBER)
        return
    yield Word(digits, Kind.NUMBER, frozenset((digits,)), surface=body)
    if currency:
        yield _word(_CURRENCIES[currency], currency, Kind.UNIT)
    if unit:
        name = "percent" if unit == "%" else UNITS.get(unit.lower(), unit)
        yield Word(name, Kind.UNIT, frozenset((name,)), surface=unit)


def _contracted(body: str) -> Iterator[Word]:
    lower = body.lower()
    if lower in _CONTRACTED:
        yield from (_word(part, part) for part in _CONTRACTED[lower].split())
        return
    for ending, meant in _ENDINGS.items():
        if lower.endswith(ending):
            yield from (_word(body[: -len(ending)], body), _word(meant, meant))
            return
    stem, apostrophe, _ = body.partition("'")
    yield _word(stem, body)
    if apostrophe and lower.endswith("'s"):
        meant = "is" if stem.lower() in _IS_AFTER else OWNS
        yield _word(meant, meant)


def _word(text: str, surface: str, kind: Kind = Kind.WORD) -> Word:
    lower = text.lower()
    if ordinal := _ORDINAL.fullmatch(lower):
        lower = f"{ordinal[1]}th"
    if kind is Kind.WORD and lower in UNITS:
        lower, kind = UNITS[lower], Kind.UNIT
    return Word(
        lower, kind, forms(lower) if kind is Kind.WORD else frozenset((lower,)), surface=surface
    )
