"""What README and docs tell a reader to run does what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from phi3_bento.launcher import Launch, example_command
from phi3_bento.settings import Settings
from tests.support import REPOSITORY, Service

pytestmark = pytest.mark.engine

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:11403"
PAGES = ("README.md", "docs/api.md")


def blocks(page: str, language: str) -> list[str]:
    text = (REPOSITORY / page).read_text()
    return [code for name, code in BLOCK.findall(text) if name == language]


def run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize(
    ("page", "code"), [(page, code) for page in PAGES for code in blocks(page, "python")]
)
def test_python_examples_run(service: Service, page: str, code: str) -> None:
    output = run([sys.executable, "-c", code.replace(ADDRESS, service.url)])
    assert "11403" in output or "billing" in output, f"{page}: {output}"


def test_the_readmes_first_curl_gives_the_printed_answer(service: Service) -> None:
    (command,) = blocks("README.md", "bash")
    (printed,) = blocks("README.md", "json")
    answer = run(["bash", "-c", command.replace(ADDRESS, service.url).replace("curl", "curl -s")])

    def content(text: str) -> list[str]:
        return re.findall(r'"content":\s?"((?:[^"\\]|\\.)*)"', text)

    assert content(answer) == content(printed)
    assert "demo" in content(answer)[0]


def test_the_readmes_first_curl_is_the_one_that_the_service_prints(tmp_path: Path) -> None:
    launch = Launch(Settings(data_dir=tmp_path), REPOSITORY / "service.py")
    assert (
        example_command(launch, "phi3-demo", with_key=False)
        == blocks("README.md", "bash")[0].strip()
    )


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in REPOSITORY.glob("docs/*.md"))],
)
def test_relative_links_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []
