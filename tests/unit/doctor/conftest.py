"""A machine for the doctor to look at."""

from pathlib import Path

import pytest

from tests.support import free_port
from tests.unit.doctor.machines import Machine


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PHI3_PORT", str(free_port()))
    return Machine(tmp_path / "data", monkeypatch)
