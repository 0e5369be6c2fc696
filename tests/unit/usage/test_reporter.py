"""What has ended is told once, in order, to every listener, and nobody waits for it."""

import threading
from collections.abc import Callable

import pytest

from phi3_bento.usage import reporter as module
from phi3_bento.usage.reporter import Reporter
from tests.support import wait_for
from tests.unit.usage.records import exchange, record


class Listening:
    """A listener that keeps what it hears, and a list of what it told."""

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        self.heard: list[object] = []
        self.told: list[object] = []
        self._tell = tell

    def hear(self, what: object) -> None:
        self.heard.append(what)

    def take(self) -> Callable[[], None]:
        heard, self.heard = self.heard, []

        def tell() -> None:
            if heard:
                self._tell()
                self.told += heard

        return tell


class Deaf(Listening):
    def hear(self, what: object) -> None:
        raise ZeroDivisionError


def fail() -> None:
    raise ZeroDivisionError


def test_notes_are_told_in_order_to_all_even_when_some_fail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = Listening()
    reporter = Reporter([Deaf(), Listening(fail), good])
    notes = [*(record(str(number)) for number in range(250)), exchange()]
    for each in notes:
        reporter.note(each)
    assert good.told == []
    reporter.flush()
    assert good.told == notes
    assert "could not be heard" in caplog.text
    assert "could not be reported" in caplog.text
    reporter.flush()
    assert good.told == notes


def test_a_handful_is_heard_together_and_the_rest_before_it_is_told() -> None:
    listening = Listening()
    reporter = Reporter([listening])
    notes = [record(str(number)) for number in range(module.HANDFUL + 1)]
    for each in notes[: module.HANDFUL - 1]:
        reporter.note(each)
    assert listening.heard == []
    reporter.note(notes[module.HANDFUL - 1])
    assert listening.heard == notes[: module.HANDFUL]
    reporter.note(notes[module.HANDFUL])
    reporter.flush()
    assert listening.told == notes


def test_the_thread_tells_soon_and_close_tells_the_rest() -> None:
    listening = Listening()
    reporter = Reporter([listening], period_s=0.01)
    reporter.start()
    reporter.note(record())
    wait_for(lambda: len(listening.told) == 1, "the note is told")
    reporter.note(record())
    reporter.close()
    assert len(listening.told) == 2
    reporter.close()


def test_notes_of_many_threads_are_all_told() -> None:
    listening = Listening()
    reporter = Reporter([listening], period_s=0.001)
    reporter.start()
    notes = [[record(f"{thread}-{number}") for number in range(500)] for thread in range(4)]
    threads = [threading.Thread(target=lambda own=own: [*map(reporter.note, own)]) for own in notes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reporter.close()
    assert sorted(map(id, listening.told)) == sorted(id(note) for own in notes for note in own)


def test_a_listener_that_hangs_costs_notes_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_NOTES", 10)
    free, hanging = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        free.wait(30)

    reporter = Reporter([Listening(hang)], period_s=0.01)
    reporter.start()
    reporter.note(record())
    assert hanging.wait(30)
    for _ in range(15):
        reporter.note(record())
    assert reporter.dropped == 5
    free.set()
    reporter.close()
