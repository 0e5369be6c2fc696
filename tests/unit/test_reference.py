"""The reference pages say everything that the code knows."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from phi3_bento import errors
from phi3_bento.cli import cli
from phi3_bento.command_reference import command_page
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.reference import stale_pages, write_pages
from phi3_bento.settings import Settings
from phi3_bento.usage.metrics import Metrics


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("docs") / "new" / "directory"
    return {path.name: path.read_text() for path in write_pages(directory, command_page(cli))}


def rows(page: str) -> dict[str, list[str]]:
    """A page's table, by its first column."""
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    table = [re.split(r" \| ", line.strip("| ")) for line in lines]
    return {row[0]: row[1:] for row in table}


def test_every_variable_is_on_the_page_with_its_default_and_sentence(
    pages: dict[str, str],
) -> None:
    table = rows(pages["configuration.md"])
    assert list(table) == [f"`PHI3_{name.upper()}`" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        assert table[f"`PHI3_{name.upper()}`"][1] == field.description
    assert table["`PHI3_PORT`"][0] == "`11403`"
    assert table["`PHI3_API_KEY`"][0] == "unset"
    assert table["`PHI3_MEMORY`"][0] == "`8.0GiB`"
    assert table["`PHI3_COMPILE`"][0] == "`false`"


def test_the_page_does_not_depend_on_whose_machine_it_is_made_on(pages: dict[str, str]) -> None:
    assert str(Path.home()) + "/" not in pages["configuration.md"]
    assert "~/.local/share/phi3-bento" in pages["configuration.md"]


def test_every_metric_is_on_the_page_as_prometheus_names_it(pages: dict[str, str]) -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    families = {
        f"`{family.name}_total`" if family.type == "counter" else f"`{family.name}`"
        for family in registry.collect()
    }
    table = rows(pages["metrics.md"])
    assert set(table) == families
    assert table["`phi3_requests_total`"][:2] == ["counter", "`operation`, `outcome`, `fault`"]
    assert all(len(row) == 3 for row in table.values())


def test_every_error_that_is_sent_is_on_the_page(pages: dict[str, str]) -> None:
    page = pages["errors.md"]
    sent = [
        error
        for error in vars(errors).values()
        if isinstance(error, type)
        and issubclass(error, Phi3Error)
        and error not in (Phi3Error, errors.StartFailure)
    ]
    assert len(sent) > 10
    for error in sent:
        code = f"`{error.code}`" if error.code else "-"
        assert f"| {int(error.status)} | `{error.type}` | {code} |" in page


def test_no_cell_breaks_its_table(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        table = [line for line in page.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in table}) == 1, name


def test_a_page_is_stale_when_it_is_missing_or_changed(tmp_path: Path) -> None:
    assert len(stale_pages(tmp_path, "commands")) == 4
    first, *_ = write_pages(tmp_path, "commands")
    assert stale_pages(tmp_path, "commands") == []
    first.write_text(first.read_text() + "by hand")
    assert stale_pages(tmp_path, "commands") == [first]
