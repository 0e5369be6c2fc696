"""A start is watched: who fails is quoted, and who is told to end does."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from phi3_bento.errors import StartFailure
from phi3_bento.launcher import (
    Launch,
    check_port,
    find_service_file,
    serve,
)
from phi3_bento.settings import Settings, load_settings
from tests.support import REPOSITORY, free_port, wait_for
from tests.unit.launches import descendants, failure_of, is_running, launch_of
from tests.unit.stand_in import READY, STAND_IN, answer


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


def signal_ourselves(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


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
