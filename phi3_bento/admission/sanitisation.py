"""Make the text of a chat message just text: no control characters, no control tokens.

A tokenizer finds `<|end|>` or `<|assistant|>` in the finished prompt, whoever wrote it, and so lets
the text of a user end its own turn and speak as the assistant or the system. `neutralise` puts a
space after the first character of every special token: `< |end|>` is read as the five pieces of
text that it is. A space, because it is the smallest change that holds: it shows (a character of no
width would come back unseen in an answer, and break what is copied from it), every model has read
it often, and no tokenizer's normalisation takes it out of the middle of a text, as some do with
characters of no width.

A text that becomes a special token only through a normalisation is broken as well: characters of
another width or case, accents and characters of no width in between.

No token can be formed across texts either: vLLM joins the parts of a message by a line feed, the
template ends a message with a special token, and the special tokens of Phi-3 hold no line feed, and
`<` as their first character only.

The prompts of `/v1/completions` and `/tokenize` are raw by definition and do not come here.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import category, normalize

_CONTROL_CHARACTERS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
_CONTROL_CHARACTERS.update({ord(character): character for character in "\t\n\r"})
_CONTROL_CHARACTERS.update(dict.fromkeys(map(ord, "\v\f\x85"), "\n"))
_INVISIBLE = {"Mn", "Me", "Cf"}
"""Unicode's categories of what some normalisations take out: accents and characters of no width."""


def sanitise(text: str, special_tokens: Sequence[str]) -> str:
    """`text` without control characters and special tokens, see `neutralise`; else unchanged.

    Vertical tab, form feed and U+0085 become line feeds; tab, line feed and carriage return stay;
    the other control characters are dropped. They come with text out of terminals and documents,
    say nothing to the model, and are no reason to refuse it. What users write with (direction
    marks, joiners, characters of no width) stays. Dropping comes first: it could form a token.
    """
    return neutralise(text.translate(_CONTROL_CHARACTERS), special_tokens)


def neutralise(text: str, special_tokens: Sequence[str]) -> str:
    """`text` with every special token broken by a space, and nothing else changed.

    In the result no special token is left, not even after a usual normalisation; so a second pass
    changes nothing. A special token must have two characters or more, and must not become another
    by a space in it.
    """
    starts = _token_starts(tuple(special_tokens))
    if text.isascii():
        return starts.sub(r"\g<0> ", text)
    folding = _Folding()
    found = {match.start() for match in starts.finditer(text.translate(folding))}
    return _broken(text, folding, found) if found else text


class _Folding(dict[int, str]):
    """From a character to the loosest that a normalisation makes of it, by code point."""

    def __missing__(self, code: int) -> str:
        decomposed = normalize("NFKD", chr(code)).lower()
        folded = "".join(part for part in decomposed if category(part) not in _INVISIBLE)
        self[code] = folded
        return folded


@lru_cache(maxsize=8)
def _token_starts(special_tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the first character of each special token, also where tokens overlap."""
    folding = _Folding()
    folded = {token.translate(folding) for token in special_tokens}
    starts = (f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in folded if token[1:])
    return re.compile("|".join(sorted(starts)) or r"(?!)", re.IGNORECASE)


def _broken(text: str, folding: _Folding, found: set[int]) -> str:
    """`text` with a space after each character whose folded form has an index in `found`.

    A character that folds to several is written out, so that the space can stand between them.
    """
    pieces = []
    position = 0
    for character in text:
        folded = folding[ord(character)]
        here = [index in found for index in range(position, position + len(folded))]
        position += len(folded)
        if not any(here):
            pieces.append(character)
        elif len(folded) == 1:
            pieces.append(f"{character} ")
        else:
            pieces += (
                f"{part} " if starts else part for part, starts in zip(folded, here, strict=True)
            )
    return "".join(pieces)
