"""The service under load: started with keys, in a cgroup where that may be, and always ended.

python -m loadtests.service CGROUP COMMAND…    enters a cgroup and becomes the command
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.cgroup import CONTROLLERS, MOUNT, Cgroup, cgroup
from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.caller import Quota
from phi3_bento.database import open_database, upgrade
from phi3_bento.knobs.defaults import default_data_dir
from phi3_bento.secret import load_secret
from tests.support import Service, running, serve_command

CPUS = "0-1"
MEMORY_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Setup:
    """How the service is to be started."""

    model: str
    engine: str
    settings: Mapping[str, str]
    """`PHI3_…` beside model, engine, port and data directory."""
    tenants: Mapping[str, Quota]
    cgroup: bool
    memory_bytes: int = MEMORY_BYTES
    """The cgroup's limit."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service that is ready."""

    service: Service
    keys: Mapping[str, str]
    """A key for each tenant."""
    group: Cgroup | None
    place: str
    """Where it runs: in which limits, or why in none."""


def why_no_cgroup() -> str | None:
    """Why a cgroup cannot be made here; None where it can."""
    if os.geteuid() != 0:
        return "that needs root"
    for controller in CONTROLLERS:
        directory = MOUNT / controller
        if not (directory / "cgroup.procs").exists():
            return "that needs cgroups version 1"
        if not os.access(directory, os.W_OK):
            return f"{directory} cannot be written"
    return None


@contextmanager
def under_load(setup: Setup) -> Iterator[Target]:
    """Start the service on a free port; its processes, files and cgroup go at the end."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phi3-load-")))
        (directory / "models").symlink_to(models_directory())
        keys = asyncio.run(create_keys(directory, setup.tenants))
        reason = why_no_cgroup() if setup.cgroup else "as was asked (--no-cgroup)"
        group, command, place = None, serve_command(), f"in no cgroup: {reason}"
        if reason is None:
            group = stack.enter_context(
                cgroup("phi3-load", memory_bytes=setup.memory_bytes, cpus=CPUS)
            )
            command = [sys.executable, "-m", "loadtests.service", group.name, *command]
            place = f"in a cgroup of CPUs {CPUS} and {setup.memory_bytes / 2**30:g} GiB"
        env = {"PHI3_MODEL": setup.model, "PHI3_ENGINE": setup.engine, **setup.settings}
        service = stack.enter_context(running(command, directory, env))
        yield Target(service, keys, group, place)


def models_directory() -> Path:
    """Where prepared models lie: shared by all runs, since preparing takes long."""
    directory = Path(os.environ.get("PHI3_DATA_DIR") or default_data_dir()).expanduser() / "models"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.absolute()


async def create_keys(directory: Path, tenants: Mapping[str, Quota]) -> dict[str, str]:
    """A key for each tenant, in the database that a service with this data directory reads."""
    database = open_database(f"sqlite:///{directory}/phi3.db")
    try:
        await upgrade(database)
        store = KeyStore(database, load_secret(None, directory))
        return {
            tenant: (await store.create(KeyTerms(tenant=tenant, quota=quota)))[1]
            for tenant, quota in tenants.items()
        }
    finally:
        await database.dispose()


def drop_own_settings() -> None:
    """Whatever this shell has set must not change what is measured; models stay where they are."""
    for name in [name for name in os.environ if name.startswith(("PHI3_", "BENTOML_"))]:
        if name != "PHI3_DATA_DIR":
            del os.environ[name]


if __name__ == "__main__":
    Cgroup(sys.argv[1]).enter()
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # the command is our own
