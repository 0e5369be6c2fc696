"""Launches of the service, and the processes that they leave."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3_bento.errors import StartFailure
from phi3_bento.launcher import Launch, find_service_file, serve
from phi3_bento.settings import Settings
from tests.support import free_port


def launch_of(data_dir: Path, **settings: Any) -> Launch:
    settings = {"port": free_port(), "data_dir": data_dir} | settings
    return Launch(Settings(**settings), find_service_file())


def failure_of(launch: Launch) -> str:
    with pytest.raises(StartFailure) as caught:
        serve(launch, say=lambda _: None, verbose=False)
    return caught.value.message


def descendants() -> set[psutil.Process]:
    """All processes below this one; other tests' services may be among them."""
    return set(psutil.Process().children(recursive=True))


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
