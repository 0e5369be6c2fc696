"""Build and run images without a Docker daemon: podman over runc, with a store of its own.

What takes long is kept between runs under ~/.cache/phi3-bento: the wheels of the locks, a Debian
root that stands in for the base image (no registry of images is asked), and podman's layers.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPOSITORY

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "phi3-bento"
BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
IMAGE = "phi3-bento:latest"
BUILD_LIMIT_S = 900
LOCKS = ("torch-cpu.txt", "cpu.txt", "build.txt")
_INSIDE = "/etc/xdg/pip"
"""Where pip looks for the settings of a machine; BentoML can pass one volume on, not two."""

_RUN = "/run/phi3-bento-podman"
"""The same for every run: podman's store remembers it."""

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

RUNTIME = """#!/usr/bin/env python3
# runc without the limits on files and processes that podman adds: raising them takes a capability
# that a sandbox may lack, and none of them is in the command that is tried.
import json, os, sys

def strip(path, key=None):
    with open(path) as file:
        content = json.load(file)
    (content[key] if key else content).pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(content, file)

arguments = sys.argv[1:]
if "--bundle" in arguments:
    strip(arguments[arguments.index("--bundle") + 1] + "/config.json", "process")
if "--process" in arguments:
    strip(arguments[arguments.index("--process") + 1])
os.execvp("runc", ["runc", *arguments])
"""


def checked(command: list[str], limit_s: float = 300, **options: object) -> str:
    """Run a command to its good end; its output."""
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=limit_s, check=False, **options
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


@contextmanager
def kept(name: str) -> Iterator[Path]:
    """A place in the cache that one run at a time may fill."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE / name


def wheel_house() -> Path:
    """A directory with every wheel that the locks name, as pip downloads and checks them."""
    locks = [REPOSITORY / "requirements" / name for name in LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    with kept("wheels") as root:
        house, draft = root / digest, root / "draft"
        if not house.exists():
            shutil.rmtree(root, ignore_errors=True)  # those of other locks
            for lock in locks:
                _download(lock, draft)
            # For a container in which this directory stands in place of pip's settings.
            (draft / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {_INSIDE}\n")
            draft.rename(house)
    return house


def _download(lock: Path, target: Path) -> None:
    """Torch is tried a second time at its own index, as scripts/install.py does."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command = [*pip, "--requirement", str(lock), "--dest", str(target)]
    try:
        checked(command)
    except AssertionError:
        if lock.name != "torch-cpu.txt":
            raise
        checked([*command, "--index-url", TORCH_INDEX])


def from_wheels(house: Path) -> dict[str, str]:
    """Variables with which pip takes everything from the wheel house."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(house)}


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with a store and a runtime of its own."""

    env: Mapping[str, str]

    def __call__(self, *arguments: str, limit_s: float = 120) -> str:
        """Run `podman …` to its good end; its output."""
        command = ["podman", "--runtime", "plain", *arguments]
        return checked(command, limit_s, env=self.env, cwd="/").strip()

    def inspect(self, what: str, template: str) -> str:
        """One thing of an image or a container."""
        return self("inspect", "--format", template, what)


@contextmanager
def podman(directory: Path) -> Iterator[Podman]:
    """podman with the base image in its store; what it needs to know lies in `directory`."""
    for program in ("podman", "runc", "mmdebstrap"):
        assert shutil.which(program), f"{program} is not installed: apt-get install {program}"
    runtime, conf = directory / "runtime", directory / "containers.conf"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    conf.write_text(
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
        f'[engine.runtimes]\nplain = ["{runtime}"]\n'
    )
    storage = directory / "storage.conf"
    with kept("podman") as store:
        storage.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{_RUN}"\ngraphroot = "{store}"\n'
        )
        engine = Podman(
            {**os.environ, "CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(storage)}
        )
        root = _debian_root()
        if subprocess.run(
            ["podman", "image", "exists", BASE_IMAGE], env=engine.env, check=False
        ).returncode:
            engine("import", "--quiet", str(root), BASE_IMAGE)
        yield engine


def _debian_root() -> Path:
    """Debian 12 with Python 3.11, as a tar archive: what python:3.11-slim-bookworm is made of."""
    packages = "python3,python3-venv,ca-certificates"
    with kept("bookworm.tar") as root:
        if not root.exists():
            draft = str(root.with_suffix(".draft.tar"))
            checked(["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", draft])
            Path(draft).rename(root)
    return root


def build_options() -> list[str]:
    """Options of `bentoml containerize` that let podman build here: wheels instead of an index."""
    options = {"volume": f"{wheel_house()}:{_INSIDE}:ro", "network": "host", "format": "docker"}
    return [word for name, value in options.items() for word in ("--opt", f"{name}={value}")]


def processes(engine: Podman, container: str) -> dict[int, str]:
    """The command lines of all processes of a container, by their ids on this machine."""
    pids = [int(line) for line in engine("top", container, "hpid").splitlines()[1:]]
    lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in pids}
    return {
        pid: file.read_text().replace("\0", " ") for pid, file in lines.items() if file.exists()
    }
