"""A record tells how a request went."""

from time import monotonic

from phi3_bento.core import Operation
from phi3_bento.record import RequestRecord


def test_a_new_record_counts_as_given_up_and_has_no_first_piece() -> None:
    record = RequestRecord(Operation.CHAT, "1")
    assert (record.outcome, record.seconds_to_first_piece) == ("aborted", None)


def test_a_record_tells_its_times() -> None:
    record = RequestRecord(Operation.CHAT, "1", started_at=10.0, first_piece_at=10.5, ended_at=13.0)
    assert (record.seconds_to_first_piece, record.seconds) == (0.5, 3.0)


def test_a_running_record_counts_until_now() -> None:
    record = RequestRecord(Operation.CHAT, "1", started_at=monotonic() - 100)
    assert record.seconds >= 100
