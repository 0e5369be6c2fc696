"""Every block of code in README and docs is run or says why not; links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import PAGES, RUN, SHOWN, blocks, matches, steps
from tests.support import REPOSITORY

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@pages
def test_every_block_names_its_language_so_that_code_is_run(page: Path) -> None:
    unknown = [block.name for block in blocks(page) if block.language not in RUN + SHOWN]
    assert unknown == [], f"languages are {RUN}, which are run, and {SHOWN}, which are shown"


@pages
def test_commands_do_not_hide_in_a_block_that_is_shown(page: Path) -> None:
    command = re.compile(r"^\s*(\$ |curl |docker |make |npm |phi3-bento |pip |python )", re.M)
    hidden = [b.name for b in blocks(page) if b.language in ("", "text") and command.search(b.code)]
    assert hidden == []


@pages
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "index.html").exists()


def test_a_transcript_is_commands_and_what_they_print() -> None:
    transcript = "$ echo a \\\n  b\na b\n$ true\n"
    assert list(steps(transcript)) == [("echo a \\\n  b", "a b\n"), ("true", "")]


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a … d", "a b c d", True),
        ("a\nb", "a   b\n", True),
        ("a", "b", False),
        ("until 2027-02-21 20:57 UTC", "until 2030-01-02 03:04 UTC", True),
        ("│ 1 │\n└───┘", "│ 2 │\n└───┘", False),
    ],
)
def test_output_is_compared_but_for_what_differs_every_time(
    shown: str, output: str, same: bool
) -> None:
    assert matches(shown, output) is same
