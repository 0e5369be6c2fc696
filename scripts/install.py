"""Install phi3-bento into .venv (or $PHI3_VENV) from pinned, hashed requirements.

--semantic adds what the semantic cache needs, --fleet the router, --dev both and the tools. --gpu
takes vLLM for CUDA instead of the CPU's. --locks leaves phi3-bento itself out, for an image's layer
of packages alone.

Each step is remembered in the environment by the hash of what it installed: a second run has
nothing to do, an interrupted run goes on where it stopped, a changed lock repeats its own step.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "gpu.txt": "BentoML, vLLM for CUDA and what they need (5 GB)",
    "torch-cpu.txt": "torch for the CPU (190 MB)",
    "cpu.txt": "BentoML, vLLM and what they need (400 MB)",
    "build.txt": "the build backend",
    "semantic.txt": "the semantic cache's model and store (90 MB)",
    "fleet.txt": "the router of a fleet (25 MB)",
    "dev.txt": "tests, checks and the load generator (130 MB)",
}
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # torch's CPU build is not on PyPI
PIP_OPTIONS = ["--no-input", "--no-deps", "--progress-bar=off", "--disable-pip-version-check"]
STAMP, LOG = "phi3-bento.json", "install.log"  # in the environment
HINTS = {
    "No space left": "Free some disk space: the installation takes about 4 GB.",
    "DO NOT MATCH THE HASHES": "The package index serves other files than the pinned ones.",
    "No matching distribution": "No package index that `pip config list` shows has this file.",
    "establish a new connection": "No package index could be reached: check network and proxy.",
}


class InstallError(Exception):
    """What stops the installation, in words for the person who started it."""


@dataclass(frozen=True)
class Step:
    """One call of pip; `digest` says what it installs, so an equal digest needs no second call."""

    name: str
    title: str
    digest: str
    arguments: list[str]


def unsupported(version: tuple[int, ...], system: str, machine: str, libc: str) -> str | None:
    """Why this Python on this machine cannot run phi3-bento; None where it can."""
    if version[:2] != (3, 11):
        return (
            f"phi3-bento needs Python 3.11; this is {version[0]}.{version[1]}. "
            "Run: make serve PYTHON=/path/to/python3.11"
        )
    if (system, machine, libc) != ("Linux", "x86_64", "glibc"):
        return f"phi3-bento needs Linux on x86-64 with glibc; this is {system} on {machine}."
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        return "This Python lacks venv. On Debian and Ubuntu: sudo apt-get install python3.11-venv"
    return None


def missing_library(name: str = "libnuma.so.1") -> str | None:
    """What to do where vLLM's kernels for the CPU could not be loaded; None where they can."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return "vLLM needs libnuma. On Debian and Ubuntu: sudo apt-get install libnuma1"
    return None


def plan(venv: Path, options: Collection[str]) -> list[Step]:
    """All steps, in order, done or not."""
    gpu, dev = "--gpu" in options, "--dev" in options
    wanted = {"gpu.txt": gpu, "torch-cpu.txt": not gpu, "cpu.txt": not gpu, "dev.txt": dev}
    wanted |= {f"{name}.txt": dev or f"--{name}" in options for name in ("semantic", "fleet")}
    steps = []
    for lock, title in LOCKS.items():
        if wanted.get(lock, True):
            path = ROOT / "requirements" / lock
            arguments = ["--require-hashes", "--requirement", str(path)]
            steps.append(Step(lock, title, sha256(path.read_bytes()).hexdigest(), arguments))
    if "--locks" in options:
        return steps
    source = (ROOT / "pyproject.toml").read_bytes() + bytes(ROOT) + bytes(venv)  # moved: again
    editable = ["--no-build-isolation", "--editable", str(ROOT)]
    return [*steps, Step("project", "phi3-bento", sha256(source).hexdigest(), editable)]


def finished(venv: Path) -> dict[str, str]:
    """The digests of the finished steps by name; none where the stamp is missing or damaged."""
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads((venv / STAMP).read_text()))
    return {}


def remember(venv: Path, step: Step) -> None:
    """Note in the stamp that `step` is done; the file is replaced in one move."""
    draft = venv / f"{STAMP}.tmp"
    draft.write_text(json.dumps(finished(venv) | {step.name: step.digest}, indent=2))
    draft.replace(venv / STAMP)


def forget_half_installed(venv: Path) -> list[str]:
    """Remove the record of packages that an interruption cut short, so that pip installs them."""
    records = venv.glob("lib/python3.11/site-packages/*.dist-info")
    broken = [r for r in records if not ((r / "RECORD").exists() and (r / "INSTALLER").exists())]
    for record in broken:
        shutil.rmtree(record)
    return sorted(record.name for record in broken)


def check_venv(venv: Path) -> None:
    """Refuse a place that holds something else than a Python 3.11 environment (or nothing)."""
    if (venv / "pyvenv.cfg").exists():
        if not ((venv / "lib" / "python3.11").exists() and (venv / "bin" / "python").exists()):
            raise InstallError(f"The Python 3.11 of {venv} is gone: remove it and run again.")
    elif venv.exists() and {path.name for path in venv.iterdir()} - {"install.lock", LOG}:
        raise InstallError(f"{venv} holds something else than a virtual environment.")


def call(command: list[str], log: Path, label: str) -> int:
    """Run `command` with its output in `log`, showing on a terminal that time goes on."""
    started, code = time.monotonic(), None
    again = f"\r{label} " if sys.stdout.isatty() else ""
    print(label, end=" ", flush=True)
    with log.open("a") as output:
        print(f"\n$ {' '.join(command)}", file=output, flush=True)
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            while code is None:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout=1)
                if again:
                    print(f"{again}{time.monotonic() - started:.0f} s ", end="", flush=True)
        except KeyboardInterrupt:
            process.wait()  # pip got the same signal and tidies up
            raise
    print(f"{again}{time.monotonic() - started:.0f} s{', failed' * bool(code)}", flush=True)
    return code


def failure(log: Path, lines: int = 12) -> InstallError:
    """The end of the log, and what can be done about it."""
    text = log.read_text(errors="replace").rpartition("\n$ ")[2]  # of the last command
    tail = [f"  | {line}" for line in text.splitlines() if line.strip()][-lines:]
    hints = [hint for sign, hint in HINTS.items() if sign in text]
    advice = f"All output is in {log}. Run the same command again: what is done stays done."
    return InstallError("\n".join([*tail, *hints, advice]))


def make_venv(venv: Path, log: Path) -> None:
    """Create the environment where there is none, or where its creation was cut short (no pip)."""
    if any(venv.glob("lib/python3.11/site-packages/pip-*.dist-info/RECORD")):
        return
    if call([sys.executable, "-m", "venv", str(venv)], log, "Creating the environment ..."):
        raise failure(log)


def install(venv: Path, *options: str) -> None:
    """Bring `venv` up to date, telling each step on the way."""
    check_venv(venv)
    steps = plan(venv, options)
    if all(finished(venv).get(step.name) == step.digest for step in steps):
        return
    venv.mkdir(parents=True, exist_ok=True)
    with (venv / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second `make` in another terminal waits here
        log = venv / LOG
        log.write_text("")
        print(f"Installing phi3-bento into {os.path.relpath(venv)}", flush=True)
        for package in forget_half_installed(venv):
            print(f"Interrupted earlier, installing again: {package}")
        make_venv(venv, log)
        for number, step in enumerate(steps, start=1):
            if finished(venv).get(step.name) != step.digest:
                run(step, venv, log, f"[{number}/{len(steps)}] {step.title} ...")


def run(step: Step, venv: Path, log: Path, label: str) -> None:
    """Carry one step out and remember it; torch is tried from its own index after a failure."""
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", *PIP_OPTIONS, *step.arguments]
    failed = call(pip, log, label)
    if failed and step.name == "torch-cpu.txt":
        failed = call([*pip, "--index-url", TORCH_INDEX], log, f"{label} from {TORCH_INDEX}")
    if failed:
        raise failure(log)
    remember(venv, step)


def main() -> int:
    """Check, install, and turn every expected failure into a sentence and an exit code."""
    machine = (platform.system(), platform.machine(), platform.libc_ver()[0])
    try:
        if problem := unsupported(tuple(sys.version_info[:3]), *machine) or missing_library():
            raise InstallError(problem)
        venv = Path(os.environ.get("PHI3_VENV") or ROOT / ".venv").resolve()
        install(venv, *sys.argv[1:])
    except (InstallError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
