"""Memory of the service's process tree, what processes share counted once."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

_KIB = 1024
_LAUNCHERS = ("bentoml", "circusd", "phi3-bento", "phi3_bento")


def memory_by_process(pid: int | None = None) -> dict[str, int]:
    """Bytes of the tree in which `pid` (unset: this process) serves, by `engine`, `worker` …

    `frame` is BentoML and the launcher, `other` whatever else they started. Takes milliseconds for
    each process, more for one of many gigabytes: not for the event loop.
    """
    worker = psutil.Process(pid)
    root = _root_of(worker)
    sizes: Counter[str] = Counter()
    ancestors = {parent.pid for parent in worker.parents()}
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error, OSError):
            sizes[_role_of(process, worker, ancestors)] += _bytes_of(process)
    return {role: sizes[role] for role in ("engine", "worker", "frame", "other")}


def _root_of(worker: psutil.Process) -> psutil.Process:
    """The outermost process that belongs to the service: BentoML's arbiter, or our launcher."""
    root = worker
    for parent in worker.parents():
        with suppress(psutil.Error):
            if not any(Path(word).name in _LAUNCHERS for word in parent.cmdline()[:4]):
                break
            root = parent
    return root


def _role_of(process: psutil.Process, worker: psutil.Process, ancestors: set[int]) -> str:
    if process.pid == worker.pid:
        return "worker"
    if process.pid in ancestors:
        return "frame"
    return "engine" if any("EngineCore" in word for word in process.cmdline()) else "other"


def _bytes_of(process: psutil.Process) -> int:
    """Its proportional set size: a page that three processes share counts a third for each."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:"))
    except (PermissionError, StopIteration):
        return int(process.memory_info().rss)
