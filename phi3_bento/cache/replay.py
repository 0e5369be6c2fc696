"""The pieces of an answer, as they are kept and as another request gets them; pure."""

from collections.abc import Sequence

import orjson

from phi3_bento.core import TokenCount


def pack(pieces: Sequence[bytes], tokens: TokenCount) -> bytes:
    """The pieces, which are JSON and so hold no line feed, a line each; before them the counts."""
    counts = orjson.dumps([tokens.prompt, tokens.completion])
    return b"\n".join((counts, *pieces))


def unpack(body: bytes) -> tuple[list[bytes], TokenCount]:
    """What `pack` was given; its prompt counts as cached, for no engine has read it.

    Raises `ValueError` for what is not of `pack`.
    """
    counts, *pieces = body.split(b"\n")
    prompt, completion = orjson.loads(counts)
    return pieces, TokenCount(prompt=prompt, cached=prompt, completion=completion)


def readdressed(piece: bytes, *, response_id: str, created: int) -> bytes:
    """A piece of another request's answer, as this one's.

    Where it tells how much of the prompt was cached, that is now all of it.
    """
    document = orjson.loads(piece)
    usage = document.get("usage")
    if usage and usage.get("prompt_tokens_details"):
        usage["prompt_tokens_details"]["cached_tokens"] = usage["prompt_tokens"]
    kind = str(document["id"]).partition("-")[0]
    document["id"] = f"{kind}-{response_id}"
    document["created"] = created
    return orjson.dumps(document)


def is_usage(piece: bytes) -> bool:
    """The piece that carries nothing but usage, at the end of a stream."""
    return b'"choices":[]' in piece or b'"choices": []' in piece
