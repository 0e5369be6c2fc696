"""The nouns of a request say what they promise."""

from collections.abc import AsyncGenerator
from time import monotonic

import pytest

from phi3_bento.core import Health, Operation, RequestRecord, State, whole
from phi3_bento.errors import EngineFailure


@pytest.mark.parametrize(
    ("state", "is_ready", "is_alive"),
    [
        (State.STARTING, False, True),
        (State.READY, True, True),
        (State.STALLED, False, False),
        (State.DEAD, False, False),
        (State.CLOSED, False, False),
    ],
)
def test_only_a_ready_engine_is_ready_and_a_starting_one_is_alive(
    state: State, is_ready: bool, is_alive: bool
) -> None:
    health = Health(state)
    assert (health.is_ready, health.is_alive) == (is_ready, is_alive)


def test_a_new_record_counts_as_given_up_and_has_no_first_piece() -> None:
    record = RequestRecord(Operation.CHAT, "1")
    assert (record.outcome, record.seconds_to_first_piece) == ("aborted", None)


def test_a_record_tells_its_times() -> None:
    record = RequestRecord(Operation.CHAT, "1", started_at=10.0, first_piece_at=10.5, ended_at=13.0)
    assert (record.seconds_to_first_piece, record.seconds) == (0.5, 3.0)


def test_a_running_record_counts_until_now() -> None:
    record = RequestRecord(Operation.CHAT, "1", started_at=monotonic() - 100)
    assert record.seconds >= 100


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
