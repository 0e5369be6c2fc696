"""The code blocks of the README and of docs/, and a shell that runs what they tell a reader to.

A block of one of the languages in `RUN` is run by tests/engine/test_documents.py, unless the line
before it says why not: `<!-- not run: REASON -->`. Output in a transcript is compared, unless that
line says `<!-- output not compared: REASON -->`.
"""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support import REPOSITORY

PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "requirements").glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
    ]
)
RUN = ("bash", "console", "javascript", "python")
SHOWN = ("", "csv", "ini", "json", "nginx", "promql", "sql", "text", "toml", "yaml")
"""Languages of blocks that are looked at: output, files, drawings."""

_BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (not run|output not compared): (\S.*?) -->\s*\Z", re.DOTALL)
_END = "@@end-of-command"
_LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str
    excuse: str | None
    """Which of the two markers stands before it."""

    @property
    def name(self) -> str:
        """Where it stands, as `docs/api.md:26`."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """A test runs it."""
        return self.language in RUN and self.excuse != "not run"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()]
        marker = _COMMENT.search(before)
        excuse = marker and marker[1]
        code = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        found.append(Block(page, before.count("\n") + 1, match[2].strip(), code, excuse))
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages that are run, of some languages."""
    found = [block for page in PAGES for block in blocks(page)]
    return [block for block in found if block.is_run and block.language in languages]


class Shell:
    """One bash that keeps its variables and its directory from command to command."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"], cwd=directory, env=env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def run(self, command: str) -> tuple[int, str]:
        """The exit code and the output, of both streams, of one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho {_END} $?\n")
        self._process.stdin.flush()
        output = []
        watch = threading.Timer(_LIMIT_S, self.close)
        watch.start()
        try:
            for line in self._process.stdout:
                text, end, code = line.partition(_END)
                output.append(text)
                if end:
                    return int(code), "".join(output)
        finally:
            watch.cancel()
        raise AssertionError(f"the shell ended in: {command}\n{''.join(output)}")

    def close(self) -> None:
        """End it, and whatever it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self.close()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self


def steps(transcript: str) -> Iterator[tuple[str, str]]:
    """The commands of a transcript, each with the output that is shown below it."""
    for part in re.split(r"^\$ ", transcript, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        length = next(n for n, line in enumerate(lines, 1) if not line.rstrip().endswith("\\"))
        yield "".join(lines[:length]).rstrip(), "".join(lines[length:])


def matches(shown: str, output: str) -> bool:
    """Whether output is what a page shows, where `…` stands for anything.

    Points of time are others every time, and tables may be of another width.
    """
    pattern = ".*?".join(map(re.escape, _essence(shown).split("…")))
    return re.fullmatch(pattern, _essence(output), re.DOTALL) is not None


def _essence(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d(.\d\d:\d\d(:\d\d)?(\.\d+)?( UTC|Z|\+00:00)?)?", "TIME", text)
    text = re.sub(r"[━─═┏┓┡┩└┘├┤┬┴┼╇┳╈]+", "", text)
    return re.sub(r"\s+", " ", text).strip()
