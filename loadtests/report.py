"""The report of a load test: what is in it, as Markdown, and as one HTML file without resources."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from loadtests.figures import PERCENTILES, by_name, outcomes, percentiles
from loadtests.judgement import Verdict
from loadtests.records import Record
from loadtests.tables import Table, number

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2rem .6rem;"
    "text-align:left}svg{max-width:100%;height:auto}.failed{color:#b00}.passed{color:#070}"
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is told of a run."""

    title: str
    passed: bool
    sentences: Sequence[str]
    tables: Sequence[Table]
    plots: str
    """An SVG document."""

    def markdown(self, image: str) -> str:
        """As Markdown that shows the plots from the file `image`."""
        text = "\n\n".join([f"**{_result(self.passed)}**", *self.sentences])
        tables = "\n".join(table.markdown() for table in self.tables if table.rows)
        return f"# {self.title}\n\n{text}\n\n![plots]({image})\n\n{tables}"

    def html(self) -> str:
        """As a page of its own."""
        kind = "passed" if self.passed else "failed"
        text = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in self.sentences)
        tables = "".join(table.html() for table in self.tables if table.rows)
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
            f'<h1>{escape(self.title)}</h1>\n<p class="{kind}"><b>{_result(self.passed)}</b></p>\n'
            f"{text}{_element(self.plots)}\n{tables}</body></html>\n"
        )

    def write(self, directory: Path, name: str) -> None:
        """`<name>.md`, `<name>.html` and `images/<name>.svg` under `directory`."""
        (directory / "images").mkdir(parents=True, exist_ok=True)
        (directory / "images" / f"{name}.svg").write_text(self.plots)
        (directory / f"{name}.md").write_text(self.markdown(f"images/{name}.svg"))
        (directory / f"{name}.html").write_text(self.html())


def _result(passed: bool) -> str:
    return "Passed: every threshold holds." if passed else "Failed: see the thresholds."


def _element(svg: str) -> str:
    """The picture without what only a document of its own may have: `<?xml` and a DTD's address."""
    return svg[svg.index("<svg") :]


def file_name(scenario: str, model: str) -> str:
    """`decision-synthetic-phi-3-mini` for the model `synthetic:phi-3-mini`."""
    slug = re.sub(r"[^a-z0-9.]+", "-", Path(model).name.lower()).strip("-")
    return f"{scenario}-{slug}"


def thresholds_table(verdicts: Sequence[Verdict]) -> Table:
    """Each threshold with what was measured."""
    rows = [
        (str(verdict.threshold), number(verdict.value), "holds" if verdict.holds else "FAILS")
        for verdict in verdicts
    ]
    return Table("Thresholds", ("threshold", "measured", "result"), rows)


def latency_table(records: Sequence[Record]) -> Table:
    """Percentiles of complete answers by the name of the request, in milliseconds."""
    rows = []
    for name, group in by_name(records).items():
        answered = [record for record in group if record.is_ok]
        rows.append(_row(name, len(group), [record.latency_ms for record in answered]))
        first = [record.first_ms for record in answered if record.first_ms is not None]
        gaps = [gap for record in answered for gap in record.gaps_ms]
        if first:
            rows.append(_row(f"{name}: to the first token", len(first), first))
        if gaps:
            rows.append(_row(f"{name}: between tokens", len(gaps), gaps))
    columns = [f"p{each}" for each in PERCENTILES]
    return Table("Latency, ms", ("request", "number", "answered", *columns, "max"), rows)


def _row(name: str, sent: int, values: Sequence[float]) -> Sequence[str]:
    return (name, str(sent), str(len(values)), *map(number, percentiles("", values).values()))


def failures_table(records: Sequence[Record]) -> Table:
    """What was not answered, by kind."""
    rows = [(name, outcome, str(count)) for name, outcome, count in outcomes(records)]
    return Table("Not answered", ("request", "what happened", "number"), rows)


def figures_table(figures: Mapping[str, float]) -> Table:
    """Every figure by the name that a threshold can use."""
    rows = [(name, number(value)) for name, value in figures.items()]
    return Table("Figures", ("figure", "value"), rows)


def steps_table(steps: Sequence[tuple[float, float | None, str]]) -> Table:
    """Rate, p95 and result of each step of a search for the highest rate that holds."""
    rows = [(f"{rate:.4g}", number(p95_ms), result) for rate, p95_ms, result in steps]
    return Table("Rising rates", ("requests a second", "p95, ms", "result"), rows)
