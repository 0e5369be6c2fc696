"""What is installed: the locked packages, the libraries, and whether vLLM can be imported."""

import ctypes
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from phi3_bento.doctor.finding import Finding, ok, problem, skipped, warning
from phi3_bento.engine.environment import engine_environment, preloads
from phi3_bento.settings import Settings

LOCKS = Path(__file__).parent.parent.parent / "requirements"
_RUNTIME = ("torch-cpu.txt", "cpu.txt")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_BREAKING = ("torchvision", "torchaudio", "torchcodec")
"""Their builds for CUDA break `import vllm` beside torch's CPU build."""

_IMPORT_LIMIT_S = 120
_INDEX_LIMIT_S = 30
_SHOWN = 5
_AGAIN = "Install again: make install"


def check_packages(locks: Path = LOCKS) -> Finding:
    """Every package of the runtime is there, in the version of the lock."""
    if _version("vllm") is not None:
        return skipped("packages", "The engine for GPUs is installed, which no lock is for.")
    pins = _pins(locks)
    if not pins:
        return skipped("packages", "No lock lies beside the package: nothing to compare with.")
    if breaking := [name for name in _BREAKING if _version(name) is not None]:
        return problem(
            "packages",
            f"{', '.join(breaking)} is installed, and breaks vLLM on a CPU.",
            f"Remove it: {sys.executable} -m pip uninstall {' '.join(breaking)}",
        )
    found = {name: _version(name) for name in pins}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        says = f"{len(missing)} of {len(pins)} locked packages are missing: {_some(missing)}."
        return problem("packages", says, f"{_AGAIN}. {_index(missing[0], pins[missing[0]])}")
    others = [
        f"{name} {version} instead of {pins[name]}"
        for name, version in found.items()
        if _plain(version or "") != _plain(pins[name])
    ]
    if others:
        return problem("packages", f"Other versions than the lock's: {_some(others)}.", _AGAIN)
    return ok("packages", f"All {len(pins)} locked packages are there.")


def check_libraries(
    environment: Mapping[str, str] = os.environ, *, numa: str = "libnuma.so.1"
) -> Finding:
    """What vLLM's kernels need of the system, and what is loaded before all others.

    That is what `LD_PRELOAD` names, OpenMP's runtime, and tcmalloc.
    """
    try:
        ctypes.CDLL(numa)
    except OSError:
        return problem(
            "libraries",
            f"{numa} cannot be loaded, and vLLM's kernels do not work without it.",
            "On Debian and Ubuntu: sudo apt-get install libnuma1",
        )
    given = environment.get("LD_PRELOAD", "").replace(":", " ").split()
    # Without a slash the loader searches; with one it must be there.
    if lost := [name for name in given if "/" in name and not Path(name).exists()]:
        return problem(
            "libraries",
            f"LD_PRELOAD names {', '.join(lost)}, which is not there: the loader ignores it.",
            "Take it out of LD_PRELOAD, or install what it belongs to.",
        )
    names = [path.name for path in preloads()] + [Path(name).name for name in given]
    if not any(name.startswith("libiomp5") for name in names):
        return problem("libraries", "OpenMP's runtime libiomp5.so is missing.", _AGAIN)
    if not any("tcmalloc" in name for name in names):
        return warning(
            "libraries",
            "libiomp5 is there, and tcmalloc is not: memory fragments more over the days.",
            "On Debian and Ubuntu: sudo apt-get install libtcmalloc-minimal4",
        )
    return ok("libraries", "libiomp5 and tcmalloc are there.")


def check_engine(settings: Settings) -> Finding:
    """vLLM can be imported, with all libraries that it loads; takes some seconds."""
    command = [sys.executable, "-c", "import vllm, vllm.v1.engine.async_llm"]
    # vLLM makes its directories when it is imported: not in those of the service.
    with TemporaryDirectory() as directory:
        environment = engine_environment(
            data_dir=Path(directory),
            threads=settings.threads,
            eager=not settings.compile,
            log_level="error",
            inherited=os.environ,
        )
        try:
            done = subprocess.run(  # noqa: S603  # our own interpreter and arguments
                command,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=_IMPORT_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return problem("engine", f"vLLM was not imported in {_IMPORT_LIMIT_S} s.", _AGAIN)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return problem("engine", f"vLLM cannot be imported: {last[:300]}", _AGAIN)
    return ok("engine", "vLLM can be imported.")


def _pins(locks: Path) -> dict[str, str]:
    """Package and version of the runtime's locks."""
    texts = [path.read_text("utf-8") for name in _RUNTIME if (path := locks / name).exists()]
    return {name: version for text in texts for name, version in _PIN.findall(text)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(version: str) -> str:
    """Without the local part: an index may build torch's for the CPU under another name."""
    return version.partition("+")[0]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _index(name: str, version: str) -> str:
    """Whether the package index that pip is configured with has a missing package."""
    wanted = f"{name}=={version}"
    command = [*(sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", wanted)]
    options = ["--no-input", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"]
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and arguments
            [*command, *options],
            capture_output=True,
            text=True,
            timeout=_INDEX_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "The package index did not answer: check network and proxy, and `pip config list`."
    if done.returncode:
        return f"The package index has no {wanted}, or was not reached: see `pip config list`."
    return "The package index has it."
