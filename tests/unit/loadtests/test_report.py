"""A report says what was measured, in Markdown and in one HTML file without resources."""

import re
from pathlib import Path

import pytest

from loadtests.judgement import Threshold, judge
from loadtests.plots import draw
from loadtests.report import (
    Report,
    failures_table,
    file_name,
    latency_table,
    thresholds_table,
)
from loadtests.sampling import Sample
from loadtests.tables import Table, number
from tests.unit.loadtests.samples import answered, refused

RECORDS = [
    *(answered(intended_s=s / 10, latency_ms=10.0 + s, cache="hit") for s in range(100)),
    answered(name="streamed", first_ms=5.0, gaps_ms=(2.0, 4.0)),
    refused(),
]
SAMPLES = [(float(second), Sample(1.8e9 + second, 2**28, None)) for second in range(10)]
FIGURES = {"p95_ms": 104.0, "errors": 3.0}


@pytest.fixture
def report() -> Report:
    verdicts = judge((Threshold("p95_ms", 300), Threshold("errors", 0)), FIGURES)
    return Report(
        title="Load test: <normal>",
        passed=False,
        sentences=["Made by `this & that`."],
        tables=[
            thresholds_table(verdicts),
            latency_table(RECORDS),
            failures_table(RECORDS),
            Table("Empty", ("nothing",), []),
        ],
        plots=draw(RECORDS, SAMPLES, 10),
    )


def test_markdown_has_the_result_the_thresholds_and_the_percentiles(report: Report) -> None:
    text = report.markdown("images/x.svg")
    assert "**Failed" in text
    assert "| p95_ms ≤ 300 | 104 | holds |" in text
    assert "| errors ≤ 0 | 3 | FAILS |" in text
    assert "| a | 101 | 100 | 59 | 99 | 104 | 108 | 109 |" in text
    assert "| streamed: between tokens | 2 | 2 | 2 | 4 | 4 | 4 | 4 |" in text
    assert "| a | overloaded | 1 |" in text
    assert "![plots](images/x.svg)" in text
    assert "Empty" not in text


def test_html_stands_alone_and_is_escaped(report: Report) -> None:
    page = report.html()
    assert "&lt;normal&gt;" in page
    assert "this &amp; that" in page
    assert page.count("<svg") == 1
    assert not re.search(r"""(src|href)=["'](?!#)|url\((?!#)|@import|<script|<link""", page)


def test_a_report_is_three_files(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "new", "normal-x")
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    expected = {"new/normal-x.md", "new/normal-x.html", "new/images/normal-x.svg"}
    assert names == expected


def test_the_plots_of_the_same_run_are_the_same() -> None:
    assert draw(RECORDS, SAMPLES, 10) == draw(RECORDS, SAMPLES, 10)


def test_a_run_without_answers_and_samples_can_be_drawn() -> None:
    assert "<svg" in draw([refused()], [], 10)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("synthetic:phi-3-mini", "decision-synthetic-phi-3-mini"),
        ("phi3-demo", "decision-phi3-demo"),
        ("microsoft/Phi-3-mini-4k-instruct", "decision-phi-3-mini-4k-instruct"),
        ("/home/me/models/Mine", "decision-mine"),
    ],
)
def test_the_file_is_named_for_scenario_and_model_without_a_path(model: str, name: str) -> None:
    assert file_name("decision", model) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.0123, "0.012"), (3.14159, "3.14"), (12345.6, "12,346")],
)
def test_figures_are_rounded_for_people(value: float | None, text: str) -> None:
    assert number(value) == text
