"""What a process says of its load."""

import pytest

from phi3_bento.load_report import LoadReport

REPORT = LoadReport(running=5, waiting=2, in_flight=9)


def test_vllms_name_counts_the_engines_work_alone() -> None:
    assert REPORT.as_dict() == {"server_load": 5, "waiting": 2, "in_flight": 9}


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (
            "TEXT",
            "TEXT named_metrics.num_requests_running=3.0, named_metrics.num_requests_waiting=2.0",
        ),
        (
            "json",
            'JSON {"named_metrics": {"num_requests_running": 3.0, "num_requests_waiting": 2.0}}',
        ),
    ],
)
def test_the_header_is_written_as_vllm_writes_it(form: str, value: str) -> None:
    assert REPORT.orca(form) == {"endpoint-load-metrics": value}


@pytest.mark.parametrize("form", [None, "", "BIN"])
def test_who_does_not_ask_gets_no_header(form: str | None) -> None:
    assert REPORT.orca(form) == {}
