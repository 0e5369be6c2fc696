"""Where the service is: its address, its port, its directory, the space there."""

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psutil

from phi3_bento.doctor.finding import Finding, ok, problem, warning
from phi3_bento.errors import StartFailure
from phi3_bento.launcher import Launch, check_port
from phi3_bento.settings import Settings

MODEL_BYTES = 8 * 2**30
"""What a model takes that is still to be downloaded or generated: Phi-3-mini in bf16."""

_LEAST_BYTES = 256 * 2**20
_ANSWER_LIMIT_S = 2.0


def check_listening(settings: Settings) -> Finding:
    """Nobody else listens there; the service itself may."""
    try:
        check_port(settings.host, settings.port)
    except StartFailure as failure:
        if served := _served_there(settings):
            return warning(
                "port",
                f"phi3-bento {served} listens at port {settings.port} already.",
                "Nothing to do where that is the one you mean; else set PHI3_PORT.",
            )
        says, _, remedy = failure.message.partition(". ")
        return problem("port", f"{says}{_listener(settings.port)}.", remedy)
    return ok("port", f"Port {settings.port} on {settings.host} is free.")


def check_directory(settings: Settings) -> Finding:
    """Everything that the service writes lies there."""
    directory = settings.data_dir
    place = nearest(directory)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        # A process without a limit on files, such as root, may write where a mount says no.
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        return problem(
            "directory",
            f"{directory} cannot be written ({error.strerror}).",
            "Set PHI3_DATA_DIR to a directory that this user may write to, or change its owner.",
        )
    there = "is" if directory.exists() else "can be made and"
    return ok("directory", f"{directory} {there} {'writable' if there == 'is' else 'written'}.")


def check_space(settings: Settings, *, model_is_there: bool) -> Finding:
    """Enough for logs and kept answers, and for a model that is still to come."""
    free = shutil.disk_usage(nearest(settings.data_dir)).free
    kept = int(settings.cache_disk) if settings.cache_store.startswith("sqlite") else 0
    return judge_space(free, kept=kept, model=0 if model_is_there else MODEL_BYTES)


def judge_space(free: int, *, kept: int, model: int) -> Finding:
    """`free` bytes against what kept answers and a model to come may take."""
    says = f"{free / 2**30:.1f} GiB are free"
    if free < model + _LEAST_BYTES:
        needs = "the model needs 8 GiB" if model else "logs alone need 0.25 GiB"
        return problem("space", f"{says}; {needs}.", "Free some, or choose another PHI3_DATA_DIR.")
    if free < model + _LEAST_BYTES + kept:
        return warning(
            "space",
            f"{says}; kept answers may take {kept / 2**30:.1f} GiB.",
            "Free some, or set PHI3_CACHE_DISK lower.",
        )
    return ok("space", f"{says}.")


def nearest(path: Path) -> Path:
    """The path itself, or what is there of the way to it."""
    return next(place for place in (path, *path.parents) if place.exists())


def _served_there(settings: Settings) -> str | None:
    """The version and model of a phi3-bento that answers at the address; None for another."""
    address = Launch(settings, Path()).address
    with suppress(OSError, ValueError, TypeError, KeyError):
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"{address}/version", timeout=_ANSWER_LIMIT_S) as response:
            document = json.loads(response.read(10_000))
        if set(document) == {"version", "model", "vllm"}:
            return f"{document['version']} with {document['model'] or 'a model that still loads'}"
    return None


def _listener(port: int) -> str:
    """Who listens there, as far as this user may know."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            is_it = connection.status == psutil.CONN_LISTEN and address and address.port == port
            if is_it and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return f"; it is process {connection.pid}, {command}"
    return ""
