"""A table of a report, as Markdown and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under a title."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As Markdown, with its title."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}\n"

    def html(self) -> str:
        """As HTML, with its title."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
            for row in self.rows
        )
        return (
            f"<h2>{escape(self.title)}</h2>\n"
            f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>\n"
        )


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def number(value: float | None) -> str:
    """A figure for people: three digits that count, and thousands apart."""
    if value is None:
        return "–"
    size = abs(value)
    places = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}"
