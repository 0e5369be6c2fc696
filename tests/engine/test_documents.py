"""What README and docs tell a reader to run does what they say, on the demo model.

Every block of code is run here, or says why not (tests/documents.py).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3_bento.launcher import Launch, example_command
from phi3_bento.settings import Settings
from tests.documents import PAGES, Block, Shell, all_blocks, blocks, matches, steps
from tests.support import REPOSITORY, Service, free_port

pytestmark = pytest.mark.engine

ADDRESS = "http://127.0.0.1:11403"
README = REPOSITORY / "README.md"
STRICT_CURL = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }'


def run(command: list[str], **options: object) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert result.returncode == 0, f"{result.stdout[-1000:]}\n{result.stderr[-2000:]}"
    return result.stdout


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.name)
def test_python_examples_run(service: Service, block: Block) -> None:
    assert run([sys.executable, "-c", block.code.replace(ADDRESS, service.url)]).strip()


@pytest.fixture(scope="module")
def npm_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which node finds OpenAI's client."""
    assert shutil.which("npm"), "npm is not installed: apt-get install nodejs npm, or run .ci/run"
    project = tmp_path_factory.mktemp("javascript") / "project"
    shutil.copytree(REPOSITORY / "tests" / "javascript", project)
    run(["npm", "ci", "--no-audit", "--no-fund"], cwd=project)
    return project


@pytest.mark.parametrize("block", all_blocks("javascript"), ids=lambda block: block.name)
def test_javascript_examples_run(service: Service, npm_project: Path, block: Block) -> None:
    code = block.code.replace(ADDRESS, service.url)
    assert run(["node", "--input-type=module", "-e", code], cwd=npm_project).strip()


@pytest.fixture
def shell(service: Service, tmp_path: Path) -> Iterator[Shell]:
    """A reader's terminal: the environment is active, and files that pages speak of are there."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "backups").mkdir()
    (tmp_path / "questions.jsonl").write_text('{"prompt": "Which port?", "max_tokens": 4}\n')
    env = {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "COLUMNS": "200",
        "PHI3_DATA_DIR": str(tmp_path / "data"),
        "PHI3_PORT": str(free_port()),
        "KEY": "none",  # the service of the tests is open
    }
    with Shell(tmp_path, env) as shell:
        shell.run(STRICT_CURL)
        yield shell


@pytest.mark.parametrize(
    "page",
    sorted({block.page for block in all_blocks("bash", "console")}),
    ids=lambda page: str(page.relative_to(REPOSITORY)),
)
def test_commands_do_what_the_page_shows(
    service: Service, shell: Shell, tmp_path: Path, page: Path
) -> None:
    """One terminal for the page: what one command sets, the next ones find."""
    port = service.url.rpartition(":")[2]
    known: dict[str, str] = {ADDRESS: service.url, "/backups": f"{tmp_path}/backups"}
    for block in blocks(page):
        if not block.is_run or block.language not in ("bash", "console"):
            continue
        if "phi3-bento cache" in block.code:
            shell.run(f"export PHI3_PORT={port}")
        if block.language == "bash":
            code, output = shell.run(f"set -e\n{replaced(block.code, known)}\nset +e")
            assert code == 0, f"{block.name}: {output}"
            continue
        for command, shown in steps(block.code):
            code, output = shell.run(replaced(command, known))
            known |= learned(shown, output)
            assert code == 0 or "problem" in shown, f"{block.name}: {command}\n{output}"
            if shown.strip() and block.excuse != "output not compared":
                assert matches(replaced(shown, known), output), f"{block.name}: {command}\n{output}"


def replaced(text: str, known: dict[str, str]) -> str:
    """A page's text with this run's own addresses and ids."""
    for shown, actual in known.items():
        text = text.replace(shown, actual)
    return text


def learned(shown: str, output: str) -> dict[str, str]:
    """The ids of keys that a page shows, and those that this run made in their place."""
    ids = [re.findall(r"The key (\w{10}) of", text) for text in (shown, output)]
    return dict(zip(*ids, strict=False))


def test_the_readmes_first_curl_gives_the_printed_answer(service: Service) -> None:
    command, printed = (
        next(block.code for block in blocks(README) if block.language == language)
        for language in ("bash", "json")
    )
    answer = run(["bash", "-c", command.replace(ADDRESS, service.url).replace("curl", "curl -s")])

    def content(text: str) -> list[str]:
        return re.findall(r'"content":\s?"((?:[^"\\]|\\.)*)"', text)

    assert content(answer) == content(printed)
    assert "demo" in content(answer)[0]


def test_the_readmes_first_curl_is_the_one_that_the_service_prints(tmp_path: Path) -> None:
    launch = Launch(Settings(data_dir=tmp_path), REPOSITORY / "service.py")
    first = next(block.code for block in blocks(README) if block.language == "bash")
    assert example_command(launch, "phi3-demo", with_key=False) == first.strip()


def test_all_pages_are_looked_at() -> None:
    assert README in PAGES
    assert len(all_blocks("python", "bash", "javascript", "console")) > 40
