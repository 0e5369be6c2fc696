"""The machine: Python, processor, cores, memory."""

import platform
import sys
from pathlib import Path

import psutil

from phi3_bento.doctor.finding import Finding, ok, problem, skipped, warning
from phi3_bento.engine.budget import GIB, MemoryPlan
from phi3_bento.engine.environment import memory_limit, usable_cores
from phi3_bento.engine_choice import plan_for
from phi3_bento.errors import StartFailure
from phi3_bento.models.source import ModelSource
from phi3_bento.settings import Settings

PLANNED_CORES = 2
_FAST = {"avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16", "amx_int8": "AMX"}


def check_python() -> Finding:
    """The one Python that everything is pinned for, on the one platform."""
    version = platform.python_version()
    system, machine, libc = platform.system(), platform.machine(), platform.libc_ver()[0]
    says = f"Python {version} on {system} {machine}, {libc or 'another libc'}."
    if sys.version_info[:2] == (3, 11) and (system, machine, libc) == ("Linux", "x86_64", "glibc"):
        return ok("python", says)
    return problem(
        "python", says, "Use Python 3.11 on Linux on x86-64 with glibc: make serve PYTHON=…"
    )


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """What makes INT8 fast, which is two thirds of the speed."""
    flags = _flags(cpuinfo)
    if not flags:
        return skipped("processor", f"{cpuinfo} names no features.")
    has = [name for flag, name in _FAST.items() if flag in flags]
    lacks = [name for flag, name in _FAST.items() if flag not in flags]
    says = f"It has {', '.join(has) or 'no AVX-512'}, and lacks {', '.join(lacks) or 'nothing'}."
    if "avx2" not in flags:
        return problem("processor", "It lacks AVX2.", "vLLM needs AVX2: use another machine.")
    if "avx512f" not in flags or "avx512_vnni" not in flags:
        return warning(
            "processor",
            says,
            "INT8 is several times slower without AVX-512 and VNNI: measure with make load "
            "before you promise 300 ms.",
        )
    return ok("processor", says)


def check_cores(settings: Settings) -> Finding:
    """Two compute threads, each on a core."""
    cores, threads = len(usable_cores()), settings.threads
    says = f"This process may use {cores} of {psutil.cpu_count() or cores} cores."
    if threads is not None and threads > cores:
        return problem(
            "cores",
            f"{says} PHI3_THREADS is {threads}.",
            f"Set PHI3_THREADS to at most {cores}: threads that share a core wait for each other.",
        )
    if cores < PLANNED_CORES:
        return warning("cores", says, "Every figure is for two cores: give it a second one.")
    return ok("cores", says)


def check_memory(settings: Settings, source: ModelSource | None) -> Finding:
    """The plan against the setting, the cgroup's limit, and the machine."""
    memory, limit = psutil.virtual_memory(), memory_limit()
    bound = f"the cgroup allows {limit / GIB:.1f} GiB" if limit else "no cgroup limits it"
    if source is None:
        return skipped("memory", f"What it needs is known when the model is there; {bound}.")
    try:
        plan = plan_for(source, settings)
    except StartFailure as failure:
        says, _, remedy = failure.message.partition(". ")
        if limit is not None and limit < settings.memory:
            says = f"{says.partition(', and PHI3_MEMORY')[0]}, and {bound}"
            remedy = "Raise its limit (docker run --memory, systemd's MemoryMax). Or: " + remedy
            return problem("memory", f"{says}.", remedy)
        return problem("memory", f"{says}; {bound}.", remedy)
    return _fit(plan, total=memory.total, available=memory.available, bound=bound)


def _fit(plan: MemoryPlan, *, total: int, available: int, bound: str) -> Finding:
    says = (
        f"The service takes at most {plan.peak_bytes / GIB:.1f} of {plan.total_bytes / GIB:.1f} "
        f"GiB; the machine has {total / GIB:.1f} GiB, {available / GIB:.1f} free; {bound}."
    )
    if plan.peak_bytes > total:
        return problem(
            "memory", says, f"Set PHI3_MEMORY to what it has: PHI3_MEMORY={total // GIB}GiB."
        )
    if plan.peak_bytes > available:
        return warning(
            "memory", says, "Stop what else takes memory here, or set PHI3_MEMORY lower."
        )
    return ok("memory", says)


def _flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
