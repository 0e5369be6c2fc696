"""What the long run measures, written to docs/reports/faults.md by `make faults`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from platform import machine, release
from time import monotonic

REPORT = Path(__file__).parents[2] / "docs" / "reports" / "faults.md"

IS_LONG = os.environ.get("FAULTS") == "long"
"""The long forms run too, and what is measured goes to the report."""


class Figures:
    """Figures by fault, in the order in which they were measured."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str]] = []

    def note(self, fault: str, what: str, value: str) -> None:
        self._rows.append((fault, what, value))

    @contextmanager
    def timed(self, fault: str, what: str) -> Iterator[None]:
        """Note how long the block takes."""
        began_at = monotonic()
        yield
        self.note(fault, what, f"{monotonic() - began_at:.2f} s")

    def write(self) -> None:
        rows = "".join(f"| {' | '.join(row)} |\n" for row in self._rows)
        REPORT.write_text(
            "# Faults: what was measured\n\n"
            "Written by `make faults` ([what each fault is](../faults.md)), "
            f"{datetime.now(UTC):%Y-%m-%d}, on {len(os.sched_getaffinity(0))} cores of "
            f"{machine()}, Linux {release().partition('-')[0]}, demo model, "
            "clients on the same cores.\n\n"
            f"| fault | what | measured |\n| --- | --- | --- |\n{rows}",
            encoding="utf-8",
        )
