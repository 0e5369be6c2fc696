"""What became of a request is one of three things, and survives its file."""

from pathlib import Path

import pytest

from loadtests.records import Record, Run
from tests.unit.loadtests.samples import answered, failed, refused

RECORDS = [
    answered(first_ms=3.0, gaps_ms=(1.0, 2.0)),
    refused(),
    refused(status=429, outcome="rate_limit_exceeded"),
    refused(status=200, outcome="deadline_unmeetable"),
    failed(),
    failed(status=0, outcome="no answer: ConnectionRefusedError"),
    failed(status=200, outcome="broken stream"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.status}-{record.outcome}")
def test_a_request_is_answered_or_refused_or_failed(record: Record) -> None:
    assert [record.is_ok, record.is_refused, record.is_error].count(True) == 1


def test_a_refusal_is_no_error_and_an_error_no_refusal() -> None:
    assert [each.is_refused for each in RECORDS] == [False, True, True, True, False, False, False]


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run(began_at=1.8e9, wall_s=30.5, cpu_s=1.25, records=RECORDS)
    run.write(tmp_path / "run.json")
    assert Run.read(tmp_path / "run.json") == run
