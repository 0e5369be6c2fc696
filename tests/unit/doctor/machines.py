"""A machine for the doctor to look at, as its settings describe it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phi3_bento.cli import cli
from phi3_bento.doctor.finding import State


@dataclass
class Machine:
    """This one, with a fresh directory and a free port; `plant` sets what shall be wrong."""

    data_dir: Path
    environment: pytest.MonkeyPatch

    def plant(self, **variables: str) -> None:
        for name, value in variables.items():
            self.environment.setenv(name, value)

    def command(self, *arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def problems(self) -> dict[str, str]:
        """What doctor calls a problem: check and both sentences."""
        result = CliRunner().invoke(cli, ["doctor", "--quick", "--json"])
        document = json.loads(result.stdout)
        found = {
            finding["check"]: f"{finding['says']} {finding['remedy']}"
            for finding in document["findings"]
            if finding["state"] == State.PROBLEM
        }
        assert all(
            finding["remedy"] for finding in document["findings"] if finding["check"] in found
        )
        assert result.exit_code == (1 if found else 0)
        assert document["ok"] is not bool(found)
        return found

    def the_problem(self, check: str) -> str:
        """The one problem, which is of `check`."""
        found = self.problems()
        assert list(found) == [check], found
        return found[check]
