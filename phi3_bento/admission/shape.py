"""How deep and how large a body is, and whether its texts are texts: looked at before its meaning.

What follows (pydantic, the schema checks, the chat template) walks a body by recursion and copies
it, and a tokenizer takes no half characters. So this comes first, and does not recurse itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from phi3_bento.errors import InvalidRequest

MAX_DEPTH = 32
"""Objects and lists inside each other, the body itself counted."""

MAX_VALUES = 20_000
"""Members of all objects and lists together; the ids of a token list are not counted."""

TOKEN_LISTS = frozenset({"prompt", "tokens"})
"""Parameters that may be lists of token ids, as long as the body's size allows."""

_Path = tuple[str | int, ...]
"""Where a value stands: the names and numbers that lead to it; the body's own is empty."""


def check_shape(body: Mapping[str, Any]) -> None:
    """Pass, or raise `InvalidRequest` that names what is too deep, too large, or no text.

    Texts, the names of members included, may hold neither U+0000 nor half a surrogate pair. JSON
    can write both, neither means anything, and each fails somewhere behind us as another's error.
    """
    values = 0
    level: list[tuple[Any, _Path]] = [(body, ())]
    for _ in range(MAX_DEPTH):
        level = [member for value, path in level for member in _members(value, path)]
        values += len(level)
        if values > MAX_VALUES:
            raise InvalidRequest(f"The body has more than {MAX_VALUES} values. Send less at once.")
    for value, path in level:
        if isinstance(value, dict | list):
            raise _refusal(path, f"is nested more than {MAX_DEPTH} levels deep.")
        _check_text(value, path)


def flaw_of(text: str) -> str | None:
    """What makes `text` no text, as in "holds the character U+0000"; None for a text."""
    if "\0" in text:
        return "holds the character U+0000"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair"
    return None


def _members(value: Any, path: _Path) -> Iterator[tuple[Any, _Path]]:
    """The members of an object or a list, with their paths; anything else has none."""
    if isinstance(value, dict):
        for name, member in value.items():
            _check_text(name, path)
            yield member, (*path, name)
    elif isinstance(value, list):
        if not _is_token_list(value, path):
            yield from ((member, (*path, index)) for index, member in enumerate(value))
    else:
        _check_text(value, path)


def _is_token_list(value: list[Any], path: _Path) -> bool:
    """Token ids where they may stand: as a parameter's value, or as one prompt of several."""
    is_legal = path[0] in TOKEN_LISTS and (len(path) == 1 or isinstance(path[1], int))
    return is_legal and len(path) <= 2 and set(map(type, value)) == {int}


def _check_text(value: Any, path: _Path) -> None:
    flaw = flaw_of(value) if isinstance(value, str) else None
    if flaw is not None:
        raise _refusal(path, f"{flaw}, which is no text.")


def _refusal(path: _Path, what: str) -> InvalidRequest:
    name = ".".join(map(str, path))
    return InvalidRequest(f"'{name}' {what}" if name else f"The body {what}", param=name or None)
