"""The launcher follows a start to its end, says what went wrong, and leaves nothing running."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from phi3_bento import launcher
from phi3_bento.errors import StartFailure
from phi3_bento.launcher import (
    Launch,
    check_port,
    example_command,
    find_service_file,
    serve,
)
from phi3_bento.settings import Settings, load_settings
from tests.support import REPOSITORY, free_port, wait_for

KEY = "a-key-of-sixteen-characters"
READY = "/v1/health/ready"
LIVE = "/v1/health/live"

STAND_IN = '''
"""Stands for `python -m bentoml` where BentoML itself cannot be made to behave like this."""
import http.server, json, os, signal, subprocess, sys

if "LAST_WORDS" in os.environ:
    print("first words", os.environ["LAST_WORDS"], sep="\\n", end="")
    sys.exit(3)
if "STUBBORN" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "600"], start_new_session=True)  # as BentoML's workers

answers = json.loads(os.environ["ANSWERS"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        queue = answers.get(self.path) or [[404, ""]]
        status, body = queue.pop(0) if len(queue) > 1 else queue[0]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


def launch_of(data_dir: Path, **settings: Any) -> Launch:
    settings = {"port": free_port(), "data_dir": data_dir} | settings
    return Launch(Settings(**settings), find_service_file())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A launch whose BentoML is the stand-in: Python finds it in the current directory."""
    (tmp_path / "bentoml.py").write_text(STAND_IN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSWERS", "{}")
    return launch_of(tmp_path / "data")


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    before = descendants()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    wait_for(lambda: descendants() <= before, "nothing is left running")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def answer(monkeypatch: pytest.MonkeyPatch, **paths: Any) -> None:
    names = {"ready": READY, "live": LIVE, "version": "/version"}
    monkeypatch.setenv("ANSWERS", json.dumps({names[name]: paths[name] for name in paths}))


def signal_ourselves(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def failure_of(launch: Launch) -> str:
    with pytest.raises(StartFailure) as caught:
        serve(launch, say=lambda _: None, verbose=False)
    return caught.value.message


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("192.0.2.1", "http://192.0.2.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
        ("2001:db8::1", "http://[2001:db8::1]:8000"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(
    tmp_path: Path, host: str, address: str
) -> None:
    assert launch_of(tmp_path, host=host, port=8000).address == address


def test_the_command_runs_bentoml_by_this_python_and_waits_longer_than_the_drain(
    tmp_path: Path,
) -> None:
    command = launch_of(tmp_path, host="127.0.0.2", port=8000, drain_limit_s=90).command()
    assert command[:4] == [sys.executable, "-m", "bentoml", "serve"]
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert (options["--host"], options["--port"]) == ("127.0.0.2", "8000")
    assert Path(options["--working-dir"], "service.py").exists()
    assert int(options["--timeout-graceful-shutdown"]) > 90


def test_two_ports_have_homes_of_their_own(tmp_path: Path) -> None:
    """BentoML wipes its metrics directory at every start."""
    homes = [launch_of(tmp_path, port=port).environment()["BENTOML_HOME"] for port in (8000, 8001)]
    assert len(set(homes)) == 2
    assert all(Path(home).is_relative_to(tmp_path) for home in homes)


def test_the_environment_is_ours_with_what_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", "/mine")
    monkeypatch.setenv("PHI3_HOST", "localhost")
    monkeypatch.setenv("PHI3_API_KEY", KEY)
    variables = launch_of(tmp_path, host="localhost", port=8000).environment()
    assert variables["PATH"] == os.environ["PATH"]
    assert (variables["BENTOML_HOME"], variables["BENTOML_DO_NOT_TRACK"]) == ("/mine", "True")
    assert (variables["PHI3_HOST"], variables["PHI3_PORT"]) == ("127.0.0.1", "8000")
    assert (variables["PHI3_DATA_DIR"], variables["PHI3_API_KEY"]) == (str(tmp_path), KEY)


def test_a_model_s_directory_means_the_same_where_bentoml_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BentoML runs the service in the service file's directory."""
    (tmp_path / "my-phi").mkdir()
    (tmp_path / "phi3-demo").mkdir()
    monkeypatch.chdir(tmp_path)
    for model, handed_on in {
        "my-phi": str(tmp_path / "my-phi"),
        "./my-phi": str(tmp_path / "my-phi"),
        "phi3-demo": "phi3-demo",
        "microsoft/Phi-3-mini-4k-instruct": "microsoft/Phi-3-mini-4k-instruct",
    }.items():
        assert launch_of(tmp_path, model=model).environment()["PHI3_MODEL"] == handed_on


def test_a_warm_cache_means_the_same_where_bentoml_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHI3_WARM_CACHE", "pack.jsonl")
    variables = launch_of(tmp_path, warm_cache="pack.jsonl").environment()
    assert variables["PHI3_WARM_CACHE"] == str(tmp_path / "pack.jsonl")


def test_the_example_names_the_key_s_variable_and_not_the_key(tmp_path: Path) -> None:
    command = example_command(launch_of(tmp_path, api_key=KEY), "phi-3-mini", with_key=True)
    assert KEY not in command
    assert '"Authorization: Bearer $PHI3_API_KEY"' in command
    assert "Authorization" not in example_command(launch_of(tmp_path), "phi-3-mini", with_key=False)


def test_the_service_file_lies_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_service_file() == REPOSITORY / "service.py"
    monkeypatch.setattr(launcher, "__file__", str(tmp_path / "phi3_bento" / "launcher.py"))
    with pytest.raises(StartFailure, match=f"no service.py at {tmp_path}.*make bento"):
        find_service_file()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_busy_port_is_said_with_another_one_to_choose(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(StartFailure, match=f"Port {port} .*PORT={port + 1}"):
            check_port(host, port)
    check_port(host, port)


def test_a_busy_port_of_ipv6_is_said_too() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6")
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as busy,
        pytest.raises(StartFailure, match=r"Port .* on ::1"),
    ):
        check_port("::1", busy.getsockname()[1])


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(StartFailure, match=r"192\.0\.2\.1 cannot be used"):
        check_port("192.0.2.1", free_port())


def test_a_service_that_cannot_be_imported_fails_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("raise RuntimeError('no such thing')")
    launch = Launch(Settings(data_dir=tmp_path, port=free_port()), tmp_path / "service.py")
    message = failure_of(launch)
    assert "ended with code 1" in message
    assert "no such thing" in message


@pytest.mark.parametrize(("words", "told"), [("no memory", "no memory"), ("\n", "first words")])
def test_a_child_that_dies_at_once_is_quoted(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.setenv("LAST_WORDS", words)
    message = failure_of(stand_in)
    assert "ended with code 3" in message
    assert message.endswith(f"last words: {told}")


def test_an_engine_that_cannot_start_is_quoted_and_ended(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = json.dumps({"error": {"message": "The model does not fit."}})
    answer(monkeypatch, ready=[[503, dead]], live=[[200, ""], [503, dead]])
    assert failure_of(stand_in) == "The model does not fit."
    check_port("127.0.0.1", stand_in.settings.port)


def test_answers_that_are_not_ours_are_waited_out(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(
        monkeypatch,
        ready=[[500, "Internal Server Error"], [404, "[]"], [200, ""]],
        live=[[503, "<html>"], [503, "[]"]],
        version=[[200, '{"model": "phi-3-mini"}']],
    )
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        if "ready" in message:
            signal_ourselves()

    assert serve(stand_in, say=say, verbose=False) == 0
    assert said[1].startswith("phi-3-mini is ready")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_ends_it_well(stand_in: Launch, number: int) -> None:
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        signal_ourselves(number)

    assert serve(stand_in, say=say, verbose=False) == 0
    assert [message for message in said if "ready" in message] == []


def test_a_second_signal_ends_the_workers_too(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BentoML starts its workers in process groups of their own."""
    monkeypatch.setenv("STUBBORN", "1")
    answer(monkeypatch, ready=[[200, ""]], version=[[200, "{}"]])
    family: dict[psutil.Process, str] = {}
    others = descendants()

    def say(message: str) -> None:
        if "is ready" in message:
            family.update({process: process.name() for process in descendants() - others})
            signal_ourselves()
            signal_ourselves()

    assert serve(stand_in, say=say, verbose=False) == 0
    assert "sleep" in family.values()
    wait_for(lambda: not any(is_running(process) for process in family), "all have ended")


def test_a_service_that_ends_by_itself_hands_on_its_code(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, ready=[[200, ""]], version=[[200, "{}"]])

    others = descendants()

    def say(message: str) -> None:
        if "ready" in message:
            for child in descendants() - others:
                child.kill()

    assert serve(stand_in, say=say, verbose=False) == -signal.SIGKILL


def descendants() -> set[psutil.Process]:
    """All processes below this one; other tests' services may be among them."""
    return set(psutil.Process().children(recursive=True))


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_real_service_starts_from_anywhere_and_stops_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another directory, with a relative data directory."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PHI3_ENGINE": "echo",
        "PHI3_PORT": str(free_port()),
        "PHI3_DATA_DIR": "data",
    }.items():
        monkeypatch.setenv(name, value)
    launch = Launch(load_settings(), find_service_file())
    said: list[str] = []
    answers: list[httpx.Response] = []
    family: list[psutil.Process] = []
    others = descendants()

    def say(message: str) -> None:
        said.append(message)
        if "try: " in message:
            family.extend(descendants() - others)
            answers.append(run_example(message.partition("try: ")[2]))
            signal_ourselves()

    assert serve(launch, say=say, verbose=False) == 0
    assert answers[0].json()["choices"][0]["message"]["content"] == "Hello! What are you?"
    assert said[0] == f"Starting the engine (the first start takes longest). Log: {launch.log_file}"
    assert said[-3].startswith("phi3-echo is ready after ")
    assert said[-2].endswith("/ui")
    assert len(family) >= 2
    wait_for(lambda: not any(is_running(process) for process in family), "all have ended")
    assert launch.log_file.is_relative_to(tmp_path / "data" / "run")
    assert "Traceback" not in launch.log_file.read_text()
    assert (launch.run_directory / "bentoml").is_dir()
    assert not (REPOSITORY / "data").exists()
    assert json.loads((launch.run_directory / "last-start.json").read_text())["seconds"] > 0


def test_a_proxy_is_not_asked_for_this_machine(stand_in: Launch, tmp_path: Path) -> None:
    """A proxy's variables are read at import, so that this needs a process of its own."""
    variables = stand_in.environment() | {
        "http_proxy": "http://127.0.0.1:9",
        "PHI3_ENGINE": "echo",
        "ANSWERS": json.dumps({READY: [[200, ""]], "/version": [[200, '{"model": "echo"}']]}),
    }
    command = [sys.executable, "-m", "phi3_bento", "serve"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "echo engine" in process.stdout.readline()
        assert "Starting" in process.stdout.readline()
        killer = threading.Timer(20, process.terminate)  # a proxy that is asked never answers
        killer.start()
        ready = process.stdout.readline()
        killer.cancel()
        process.terminate()
        process.communicate()
    assert (process.returncode, "echo is ready" in ready) == (0, True)


def run_example(command: str) -> httpx.Response:
    """Do what the printed `curl` would."""
    program, url, option, header, data, body = shlex.split(command)
    assert (program, option, data) == ("curl", "-H", "-d")
    name, _, value = header.partition(": ")
    return httpx.post(url, content=body, headers={name: value}, trust_env=False)


def test_the_next_start_tells_how_long_the_last_one_took(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAST_WORDS", "bye")
    stand_in.run_directory.mkdir(parents=True)
    said: list[str] = []
    for text in ('{"seconds": 41.7}', "{}", "[]", "damaged"):
        (stand_in.run_directory / "last-start.json").write_text(text)
        with pytest.raises(StartFailure):
            serve(stand_in, say=said.append, verbose=False)
    assert ["last time this took 42 s" in message for message in said] == [True, *[False] * 3]


def test_verbose_shows_the_output_instead_of_writing_it(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAST_WORDS", "seen")
    with pytest.raises(StartFailure, match=r"\(see above\)"):
        serve(stand_in, say=lambda _: None, verbose=True)
    assert "seen" in capfd.readouterr().out
    assert not stand_in.log_file.exists()


def test_an_earlier_log_is_not_quoted_for_this_start(
    stand_in: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAST_WORDS", "yesterday")
    assert "yesterday" in failure_of(stand_in)
    monkeypatch.setenv("LAST_WORDS", "today")
    assert "yesterday" not in failure_of(stand_in)
