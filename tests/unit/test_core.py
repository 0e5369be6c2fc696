"""The one piece of an answer that is not a stream."""

from collections.abc import AsyncGenerator

import pytest

from phi3_bento.core import whole
from phi3_bento.errors import EngineFailure


async def test_whole_reads_to_the_end_so_that_the_answer_counts_as_taken() -> None:
    ends: list[str] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"document"
            ends.append("finished")
        finally:
            ends.append("closed")

    assert await whole(pieces()) == b"document"
    assert ends == ["finished", "closed"]


async def test_whole_passes_a_failure_on() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        raise EngineFailure("It broke.")
        yield b""

    with pytest.raises(EngineFailure):
        await whole(pieces())
