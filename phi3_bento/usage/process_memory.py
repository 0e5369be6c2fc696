"""Memory of the service's process tree, from counters that the kernel keeps anyway.

What processes share exactly (`smaps_rollup`) is not asked: for that the kernel walks every page,
100 ms for 600 MB where this was measured, and holds up whoever maps memory meanwhile.
"""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

_KIB = 1024
_LAUNCHERS = ("bentoml", "circusd", "phi3-bento", "phi3_bento")
ROLES = ("engine", "worker", "frame", "other", "shared")


def memory_by_process(pid: int | None = None) -> dict[str, int]:
    """Bytes of the tree in which `pid` (unset: this process) serves, by `ROLES`.

    Each process has what is its own. `shared` is what the one that has most of it maps of files
    and shared memory, for the others map mostly the same. Takes some milliseconds.
    """
    worker = psutil.Process(pid)
    root = _root_of(worker)
    ancestors = {parent.pid for parent in worker.parents()}
    sizes = Counter(dict.fromkeys(ROLES, 0))
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error, OSError):
            own, mapped = _bytes_of(process)
            sizes[_role_of(process, worker, ancestors)] += own
            sizes["shared"] = max(sizes["shared"], mapped)
    return dict(sizes)


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


def _bytes_of(process: psutil.Process) -> tuple[int, int]:
    """Memory of its own, and what it maps of files and shared memory."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
    fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
    own, file, shared = (int(fields[f"Rss{kind}"].split()[0]) for kind in ("Anon", "File", "Shmem"))
    return own * _KIB, (file + shared) * _KIB
