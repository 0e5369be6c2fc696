"""The command line says what is wrong in one line and ends with a code that scripts understand."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from phi3_bento import __version__
from phi3_bento.cli import cli
from phi3_bento.command_reference import commands
from phi3_bento.exits import Exit
from tests.support import free_port

SERVE = [sys.executable, "-m", "phi3_bento", "serve"]


def refusal(tmp_path: Path, **variables: str) -> str:
    """The one line with which `phi3-bento serve` refuses to start."""
    environment = os.environ | {
        "PHI3_DATA_DIR": str(tmp_path),
        "PHI3_PORT": str(free_port()),
        **variables,
    }
    done = subprocess.run(
        SERVE, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("phi3-bento: ")
    return line


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(cli, ["version"])
    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


def test_without_a_command_the_commands_are_listed() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    for command in ("serve", "docs", "version"):
        assert command in result.output


def test_the_help_says_how_to_set_a_port() -> None:
    result = CliRunner().invoke(cli, ["serve", "--help"])
    assert (result.exit_code, "PHI3_PORT" in result.output) == (0, True)


def test_a_misspelt_option_is_an_error_of_use() -> None:
    result = CliRunner().invoke(cli, ["serve", "--prot=80"])
    assert (result.exit_code, "--prot" in result.output) == (2, True)


def test_the_reference_pages_are_written_and_checked(tmp_path: Path) -> None:
    def docs(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["docs", "--directory", str(tmp_path / "docs"), *options])
        return result.exit_code, result.output

    code, output = docs("--check")
    assert (code, "make docs" in output) == (1, True)
    assert docs()[0] == 0
    assert docs("--check") == (0, "")
    (tmp_path / "docs" / "metrics.md").write_text("by hand")
    code, output = docs("--check")
    assert (code, re.findall(r"(\w+)\.md", output)) == (1, ["metrics"])


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert "PHI3_PORT" in refusal(tmp_path, PHI3_PORT="eighty")


def test_a_service_for_others_needs_a_key(tmp_path: Path) -> None:
    assert "PHI3_API_KEY" in refusal(tmp_path, PHI3_HOST="0.0.0.0")  # noqa: S104


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        line = refusal(tmp_path, PHI3_PORT=str(port))
    assert f"Port {port} on 127.0.0.1 cannot be used" in line
    assert f"PORT={port + 1}" in line


def test_a_missing_model_is_named_before_anything_starts(tmp_path: Path) -> None:
    assert "There is no model './phi-4'" in refusal(tmp_path, PHI3_MODEL="./phi-4")
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_fit_is_told_before_anything_starts(tmp_path: Path) -> None:
    assert "PHI3_MEMORY is 1.0 GiB" in refusal(tmp_path, PHI3_MEMORY="1GiB")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_is_switched_off_is_told(tmp_path: Path) -> None:
    line = refusal(tmp_path, PHI3_MODEL="microsoft/Phi-3-mini-4k-instruct", HF_HUB_OFFLINE="1")
    assert "'microsoft/Phi-3-mini-4k-instruct' is not in" in line
    assert "HF_HUB_OFFLINE" in line


class BrokenHub(BaseHTTPRequestHandler):
    """A proxy that refuses, and a hub that does not speak HTTP."""

    def do_CONNECT(self) -> None:
        self.send_error(403)

    def do_GET(self) -> None:
        self.wfile.write(b"something else than HTTP\r\n\r\n")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def broken_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BrokenHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HF_ENDPOINT"])
def test_a_network_that_fails_in_any_way_is_told_in_one_line(
    tmp_path: Path, broken_hub: str, variable: str
) -> None:
    variables = {"PHI3_MODEL": "owner/model", "NO_PROXY": "", variable: broken_hub}
    assert "could not be downloaded" in refusal(tmp_path, **variables)


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert not command.get_short_help_str().endswith("..."), "the first sentence is too long"
    example = command.help.partition("Example: ")[2]
    assert name in example
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_understood(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").touch()
    example = " ".join(COMMANDS[name].help.partition("Example: ")[2].split())
    words = shlex.split(example.partition(f"{name}")[2].partition("&&")[0].rstrip(")"))
    COMMANDS[name].make_context(name, words).close()


@pytest.mark.parametrize("name", [name for name in COMMANDS if len(name.split()) > 2])
def test_a_group_lists_its_commands_whole(name: str) -> None:
    _, group, command = name.split()
    listed = CliRunner().invoke(cli, [group, "--help"]).stdout
    (line,) = re.findall(rf"^  {command} +(\S.*)$", listed, re.MULTILINE)
    assert line.endswith(".")
    assert not line.endswith("...")


def test_the_help_tells_the_codes_that_it_ends_with() -> None:
    text = " ".join(CliRunner().invoke(cli, ["--help"]).stdout.split())
    for code in Exit:
        assert f"{int(code)} " in text.partition("Codes: ")[2]


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    environment = os.environ | {
        "_PHI3_BENTO_COMPLETE": "complete_bash",
        "COMP_WORDS": "phi3-bento keys r",
        "COMP_CWORD": "2",
    }
    script = Path(sys.executable).with_name("phi3-bento")
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["revoke", "rotate"]


def test_ctrl_c_has_a_code_of_its_own_and_no_traceback(tmp_path: Path) -> None:
    """While a command reads what it is sent."""
    program = "from phi3_bento.cli import main; print('here', flush=True); main()"
    command = [sys.executable, "-c", program, *("cache", "explain", "-")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PHI3_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED
    assert "Traceback" not in said


def test_what_a_machine_reads_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path))

    def ask(*arguments: str) -> Any:
        return json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)

    key_id = ask("keys", "create", "--tenant", "acme")["id"]
    assert ask("keys", "revoke", key_id)["status"] == "revoked"
    assert ask("keys", "list")[0]["id"] == key_id
    assert ask("usage") == []
    assert ask("model", "list") == []
    assert ask("plan")["model"] == "phi3-demo"
