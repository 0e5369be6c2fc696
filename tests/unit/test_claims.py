"""Every test that the documents name exists, and every claim of the threat model names one."""

import re
from pathlib import Path

import pytest

from tests.support import REPOSITORY

DOCUMENTS = sorted((REPOSITORY / "docs").rglob("*.md"))
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_tests_that_a_document_names_exist(document: Path) -> None:
    for file, name in NAMED.findall(document.read_text(encoding="utf-8")):
        path = REPOSITORY / file
        assert path.exists(), f"{document.name} names {file}"
        assert re.search(rf"def {name}\(", path.read_text(encoding="utf-8")), (
            f"{file} has no {name}"
        )


def test_every_claim_of_the_threat_model_names_the_test_behind_it() -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    section = text.partition("## What stands against whom")[2].partition("\n## ")[0]
    claims = [part for part in section.split("\n\n") if part.startswith("**")]
    assert len(claims) >= 12
    assert [claim for claim in claims if not NAMED.search(claim)] == []
