"""What has ended is told once, in order, to every listener, and nobody waits for it."""

import threading

import pytest

from phi3_bento.usage import reporter as module
from phi3_bento.usage.reporter import Batch, Reporter
from tests.support import wait_for
from tests.unit.usage.records import exchange, record


def test_notes_are_told_in_order_to_all_even_when_one_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Batch] = []

    def failing(_: Batch) -> None:
        raise ZeroDivisionError

    reporter = Reporter([failing, heard.append])
    records = [record(str(number)) for number in range(250)]
    ended = exchange()
    for each in records:
        reporter.note(each)
    reporter.note(ended)
    reporter.flush()
    assert [each for batch in heard for each in batch.records] == records
    assert [each for batch in heard for each in batch.exchanges] == [ended]
    assert "could not be reported" in caplog.text
    reporter.flush()
    assert len([each for batch in heard for each in batch.records]) == 250


def test_the_thread_tells_soon_and_close_tells_the_rest() -> None:
    heard: list[Batch] = []
    reporter = Reporter([heard.append], period_s=0.01)
    reporter.start()
    reporter.note(record())
    wait_for(lambda: len(heard) == 1, "the note is told")
    reporter.note(record())
    reporter.close()
    assert sum(len(batch.records) for batch in heard) == 2
    reporter.close()


def test_a_listener_that_hangs_costs_notes_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_NOTES", 10)
    free, hanging = threading.Event(), threading.Event()

    def hang(_: Batch) -> None:
        hanging.set()
        free.wait(30)

    reporter = Reporter([hang], period_s=0.01)
    reporter.start()
    reporter.note(record())
    assert hanging.wait(30)
    for _ in range(15):
        reporter.note(record())
    assert reporter.dropped == 5
    free.set()
    reporter.close()
