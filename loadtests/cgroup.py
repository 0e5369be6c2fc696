"""A cgroup (version 1, as root) of two CPUs and a memory limit, and what its processes use."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpuset")
_REMOVAL_TRIES = 40


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A cgroup that exists."""

    name: str

    def directory(self, controller: str) -> Path:
        """Where the files of a controller lie."""
        return MOUNT / controller / self.name

    def enter(self) -> None:
        """Move this process, and what it starts from now on, into the cgroup."""
        for controller in CONTROLLERS:
            (self.directory(controller) / "cgroup.procs").write_text(str(os.getpid()))

    def used_bytes(self) -> int:
        """Anonymous and shared memory of all processes: what cannot be reclaimed."""
        stat = (self.directory("memory") / "memory.stat").read_text().splitlines()
        values = dict(line.split() for line in stat)
        return int(values["total_rss"]) + int(values["total_shmem"])

    def cache_bytes(self) -> int:
        """Pages of files, which the kernel takes back when memory is short."""
        stat = (self.directory("memory") / "memory.stat").read_text().splitlines()
        values = dict(line.split() for line in stat)
        return int(values["total_cache"]) - int(values["total_shmem"])

    def oom_kills(self) -> int:
        """How often the kernel killed a process of the cgroup for memory."""
        control = (self.directory("memory") / "memory.oom_control").read_text().splitlines()
        return int(dict(line.split() for line in control).get("oom_kill", 0))


@contextmanager
def cgroup(name: str, *, memory_bytes: int, cpus: str = "0-1") -> Iterator[Cgroup]:
    """A fresh cgroup; removed at the end, when its processes have ended. Needs root."""
    group = Cgroup(f"{name}-{os.getpid()}")
    for controller in CONTROLLERS:
        group.directory(controller).mkdir()
    try:
        (group.directory("memory") / "memory.limit_in_bytes").write_text(str(memory_bytes))
        cpuset = group.directory("cpuset")
        (cpuset / "cpuset.cpus").write_text(cpus)
        (cpuset / "cpuset.mems").write_text((MOUNT / "cpuset/cpuset.mems").read_text())
        yield group
    finally:
        _remove(group)


def _remove(group: Cgroup) -> None:
    """Processes leave a cgroup a moment after they were waited for."""
    for controller in CONTROLLERS:
        for _ in range(_REMOVAL_TRIES):
            try:
                group.directory(controller).rmdir()
                break
            except OSError:
                time.sleep(0.5)
