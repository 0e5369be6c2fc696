"""What the service's processes use, sampled beside the load: memory over time, and CPU."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from loadtests.service import Target

LEAST_INTERVAL_S = 1.0
MOST_SAMPLES = 600


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment."""

    at: float
    """Unix time in seconds."""
    rss_bytes: int
    """Resident memory, added up over the processes: what they share counts for each."""
    used_bytes: int | None
    """What the cgroup's processes use and the kernel cannot take back; None without a cgroup."""

    @property
    def bytes(self) -> int:
        """The better of the two."""
        return self.rss_bytes if self.used_bytes is None else self.used_bytes


class Sampler:
    """Samples a service's memory in a thread."""

    def __init__(self, target: Target, interval_s: float) -> None:
        self.samples: list[Sample] = []
        self._target = target
        self._interval_s = interval_s
        self._stop = threading.Event()

    def sample(self) -> Sample:
        """Memory now."""
        group = self._target.group
        used = None if group is None else group.used_bytes()
        rss = sum(_ask_each(self._target, lambda process: process.memory_info().rss))
        return Sample(time.time(), int(rss), used)

    def cpu_s(self) -> float:
        """CPU that the service's processes have used so far."""
        return sum(_ask_each(self._target, lambda process: sum(process.cpu_times()[:2])))

    def run(self) -> None:
        """Sample until `stop`."""
        while not self._stop.wait(self._interval_s):
            self.samples.append(self.sample())

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()


def _ask_each(target: Target, question: Callable[[psutil.Process], float]) -> list[float]:
    answers = []
    for process in [psutil.Process(target.service.process.pid), *target.service.tree()]:
        try:
            answers.append(question(process))
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return answers


@contextmanager
def sampled(
    target: Target, seconds: float, *, least_interval_s: float = LEAST_INTERVAL_S
) -> Iterator[Sampler]:
    """Sample while the block runs, which takes about `seconds`."""
    sampler = Sampler(target, max(least_interval_s, seconds / MOST_SAMPLES))
    thread = threading.Thread(target=sampler.run, daemon=True)
    thread.start()
    try:
        yield sampler
    finally:
        sampler.stop()
        thread.join()
