"""What vLLM must find in its environment on a small CPU machine, computed before it is imported."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_UNLIMITED_BYTES = 2**60
_TCMALLOC_NAMES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
_LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/local/lib")


def usable_cores() -> list[int]:
    """The cores that this process may run on, by number."""
    return sorted(os.sched_getaffinity(0))


def memory_limit(root: Path = Path("/")) -> int | None:
    """The memory limit of this process's cgroup in bytes, of either version; None without one."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
        elif not controllers:
            limits += _limits(root / "sys/fs/cgroup", path, "memory.max")
    return min(limits, default=None)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """The limits on the way from a cgroup up to its mount; version 1 writes 2**63 for none."""
    directory = mount / path.strip("/")
    levels = [directory, *directory.parents][: len(Path(path).parts) or 1]
    found = []
    for level in levels:
        try:
            text = (level / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _UNLIMITED_BYTES:
            found.append(int(text))
    return found


def has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies matrices in tiles, for which vLLM has its own attention."""
    try:
        return "amx_tile" in cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False


def compute_threads(cores: Iterable[int], threads: int | None) -> dict[str, str]:
    """OpenMP's variables: compute threads bound to cores, two unless `threads` says otherwise.

    vLLM's own choice reserves a core for the front end. With two cores that halves the speed:
    prefill 88 against 162 tokens/s, measured with the full-size model. The `KMP_` variables are
    Intel's OpenMP's, which only the engine loads; a thread sleeps after 5 ms without work, as
    vLLM has it.
    """
    chosen = [str(core) for core in cores][: threads or 2]
    return {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(len(chosen)),
        "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{','.join(chosen)}]",
        "KMP_BLOCKTIME": "5",
        "KMP_TPAUSE": "0",
    }


def preloads(prefix: Path = Path(sys.prefix)) -> list[Path]:
    """Libraries to load before all others: Intel's OpenMP, and tcmalloc where the machine has it.

    vLLM binds and parks compute threads through OpenMP's runtime; tcmalloc keeps the many equal
    allocations of an engine step from fragmenting the heap.
    """
    openmp = [prefix / "lib" / "libiomp5.so"]
    tcmalloc = [
        Path(directory) / name for name in _TCMALLOC_NAMES for directory in _LIBRARY_DIRECTORIES
    ]
    found_tcmalloc = [path for path in tcmalloc if path.exists()][:1]
    return [path for path in openmp if path.exists()] + found_tcmalloc


def engine_environment(
    *,
    data_dir: Path,
    threads: int | None,
    eager: bool,
    log_level: str,
    log_configuration: Path | None = None,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """Variables to set before vLLM is imported; what the operator has set already is kept.

    `LD_PRELOAD` reaches the engine's processes although this process runs already, because vLLM
    starts them anew ("spawn").
    """
    wanted = {
        **compute_threads(usable_cores(), threads),
        "VLLM_CACHE_ROOT": str(data_dir / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(data_dir / "torchinductor"),
        "VLLM_CONFIG_ROOT": str(data_dir / "vllm"),
        "XDG_CACHE_HOME": str(data_dir / "cache"),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": log_level.upper(),
        "TOKENIZERS_PARALLELISM": "false",
        # With PHI3_COMPILE: vLLM 0.32 keeps what it compiled for a CPU and cannot load it again
        # ("'function' object has no attribute 'finalize_loading'"). torch's own cache can.
        "VLLM_USE_AOT_COMPILE": "0",
        # Weights in pages of 2 MiB, of glibc's allocations (oneDNN's packed weights) and torch's:
        # where a page fault is dear, as in a virtual machine, it is most of a start.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "THP_MEM_ALLOC_ENABLE": "1",
    }
    if eager:
        # vLLM compiles what counts the ranks for logprobs even so: with the first such request, by
        # a C++ compiler, for seconds and in memory that the full size leaves no room for.
        wanted["TORCH_COMPILE_DISABLE"] = "1"
    if log_configuration is not None:
        wanted["VLLM_LOGGING_CONFIG_PATH"] = str(log_configuration)
    environment = {name: value for name, value in wanted.items() if name not in inherited}
    preload = [inherited["LD_PRELOAD"]] if inherited.get("LD_PRELOAD") else []
    missing = [str(path) for path in preloads() if path.name not in "".join(preload)]
    if missing:
        environment["LD_PRELOAD"] = ":".join([*preload, *missing])
    return environment
