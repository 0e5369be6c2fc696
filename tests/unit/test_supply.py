"""scripts/supply.py: what was not checked never looks like clean."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from phi3_bento import __version__

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "supply.py"
FOUND = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}
UNMENDED = {"id": "PYSEC-2", "fix_versions": [], "aliases": []}
WANTED = {"one": "1.0", "two": "2.0"}


@pytest.fixture(scope="module")
def supply() -> ModuleType:
    """scripts/supply.py as a module."""
    spec = importlib.util.spec_from_file_location("phi3_supply", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entry(name: str, *vulnerabilities: dict[str, object]) -> dict[str, object]:
    return {"name": name, "version": WANTED[name], "vulns": list(vulnerabilities)}


def test_all_checked_and_nothing_known_is_clean(supply: ModuleType) -> None:
    lines, code = supply.verdict(WANTED, [entry("one"), entry("two")])
    assert (lines, code) == (["2 of 2 packages checked, 0 findings to mend."], 0)


def test_what_can_be_mended_fails(supply: ModuleType) -> None:
    lines, code = supply.verdict(WANTED, [entry("one", FOUND), entry("two")])
    assert code == 1
    assert lines[0] == "one 1.0: PYSEC-1, mended in 1.1"


def test_what_no_version_mends_is_told_and_does_not_fail(supply: ModuleType) -> None:
    lines, code = supply.verdict(WANTED, [entry("one", UNMENDED), entry("two")])
    assert code == 0
    assert lines[0] == "one 1.0: PYSEC-2, no version mends it yet"


@pytest.mark.parametrize(
    "rest", [[], [{"name": "two", "skip_reason": "not found"}]], ids=["missing", "skipped"]
)
def test_one_that_was_not_checked_is_not_clean(
    supply: ModuleType, rest: list[dict[str, object]]
) -> None:
    lines, code = supply.verdict(WANTED, [entry("one"), *rest])
    assert code == 3
    assert lines[-1].startswith("NOT CHECKED: 1 of 2 packages, beginning with two")


def test_a_finding_goes_before_what_was_not_checked(supply: ModuleType) -> None:
    assert supply.verdict(WANTED, [entry("one", FOUND)])[1] == 1


def test_advisories_know_versions_without_a_local_part(supply: ModuleType) -> None:
    assert supply.pins(supply.locks())["torch"] == "2.13.0"


def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(
    supply: ModuleType, tmp_path: Path
) -> None:
    assert supply.sbom(tmp_path / "sbom.json") == 0
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == __version__
    assert {component["name"] for component in bill["components"]} == set(
        supply.pins(supply.locks())
    )
    assert all(c["externalReferences"][0]["hashes"] for c in bill["components"])
