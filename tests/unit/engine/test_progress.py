"""Only work that does not move counts as a stall; idle never does."""

from phi3_bento.engine.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_idle_is_no_silence_however_long() -> None:
    clock = Clock()
    progress = Progress(clock)
    clock.now += 10_000
    assert progress.silence_s == 0
    progress.enter()
    assert progress.silence_s == 0, "its time begins with the work"


def test_work_without_a_step_is_silence_until_the_next_step() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.enter()
    clock.now += 5
    progress.enter()
    assert progress.silence_s == 5, "more work makes it no younger"
    progress.step()
    clock.now += 2
    assert progress.silence_s == 2
    progress.leave()
    assert progress.silence_s == 2
    progress.leave()
    assert progress.silence_s == 0
