"""`phi3-bento cache …` as an operator types it, against a service over the echo engine."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from phi3_bento.cache.pack import read_pack
from phi3_bento.cli import cli
from phi3_bento.errors import StartFailure
from tests.support import REPOSITORY, EchoServer, echo_server, free_port, wait_for
from tests.unit.cache.packs import answer_to, body_of, write_pack

KEY = "a-key-of-sixteen-characters"


@pytest.fixture(autouse=True)
def _data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the `echo` service, too."""
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path))


def run(*arguments: object, text: str | None = None) -> Result:
    result = CliRunner().invoke(cli, ["cache", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, StartFailure | SystemExit)
    return result


def told(*arguments: object, text: str | None = None) -> dict[str, Any]:
    """What a command says to a machine."""
    result = run(*arguments, "--json", text=text)
    assert result.exit_code == 0, (result.output, result.exception)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def failure(*arguments: object) -> str:
    exception = run(*arguments).exception
    assert isinstance(exception, StartFailure)
    return exception.message


def questions(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_a_file_is_warmed_and_a_second_run_finds_it_kept(echo: EchoServer, tmp_path: Path) -> None:
    file = questions(
        tmp_path,
        body_of("one"),
        {"prompt": "two"},
        {"path": "/v1/completions", "body": {"prompt": "three"}},
    )
    started = echo.engine.started
    first = run("warm", file, "--url", echo.url)
    assert first.stdout == "3 of 3 lines: 3 made, 0 kept before, 0 failed.\n"
    assert "3 of 3 lines" in first.stderr
    assert (first.exit_code, echo.engine.started) == (0, started + 3)
    again = told("warm", file, "--url", echo.url)
    assert (again["hits"], again["made"], again["lines"], again["done"]) == (3, 0, 3, 3)
    assert echo.engine.started == started + 3


def test_bad_lines_are_named_and_the_rest_is_warmed(echo: EchoServer, tmp_path: Path) -> None:
    file = questions(tmp_path, body_of("one"), [], {"messages": "x"}, body_of("two"))
    done = run("warm", file, "--url", echo.url)
    assert done.exit_code == 1
    assert done.stdout == "4 of 4 lines: 2 made, 0 kept before, 2 failed.\n"
    assert "Line 2: it has neither 'messages' nor 'prompt'." in done.stderr
    assert "Line 3: " in done.stderr
    as_json = json.loads(run("warm", file, "--url", echo.url, "--json").stdout)
    assert [problem["line"] for problem in as_json["problems"]] == [2, 3]


def test_a_terminal_sees_a_bar(echo: EchoServer, tmp_path: Path) -> None:
    file = questions(tmp_path, *(body_of(str(number)) for number in range(5)))
    command = [sys.executable, "-m", "phi3_bento", "cache", "warm", str(file), "--url", echo.url]
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            seen += os.read(leader, 4096)
        except OSError:  # Linux says that nobody writes any more
            break
    os.close(leader)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == b"5 of 5 lines: 5 made, 0 kept before, 0 failed.\n"
    assert b"5/5" in seen


def test_ctrl_c_says_how_far_it_got_and_the_next_run_goes_on(
    echo: EchoServer, tmp_path: Path
) -> None:
    file = questions(tmp_path, *(body_of(f"{number} {number}") for number in range(200)))
    echo.engine.word_s = 0.05
    command = [sys.executable, "-m", "phi3_bento", "cache", "warm", str(file), "--url", echo.url]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    started = echo.engine.started
    wait_for(lambda: echo.engine.started > started + 5, "some have been asked")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    made = int(out.partition(" made")[0].rpartition(" ")[2])
    assert 0 < made < 200
    assert "The same command goes on from here." in err
    assert "Traceback" not in err
    echo.engine.word_s = 0
    again = told("warm", file, "--url", echo.url)
    assert again["hits"] >= made
    assert again["hits"] + again["made"] == 200


def test_the_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key_file = questions(tmp_path, body_of("one")), tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    with echo_server(tmp_path, api_key=KEY) as server:
        assert "Name a key with PHI3_API_KEY or --key-file." in failure(
            "warm", file, "--url", server.url
        )
        assert told("warm", file, "--url", server.url, "--key-file", key_file)["made"] == 1
        assert told("warm", file, "--url", server.url, "--key", KEY)["hits"] == 1
        monkeypatch.setenv("PHI3_API_KEY", KEY)
        monkeypatch.setenv("PHI3_PORT", server.url.rpartition(":")[2])
        assert told("warm", file)["hits"] == 1
        assert told("stats")["hits"]["memory"] == 2


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    file = questions(tmp_path, body_of("one"))
    for arguments in (("warm", file), ("stats",), ("clear", "--all"), ("explain", file)):
        message = failure(*arguments, "--url", url)
        assert message.startswith(f"No service answers at {url}")
        assert "phi3-bento serve" in message


def test_statistics_are_a_table_for_people(echo: EchoServer, tmp_path: Path) -> None:
    file = questions(tmp_path, body_of("one"))
    for _ in range(2):
        run("warm", file, "--url", echo.url)
    shown = run("stats", "--url", echo.url).stdout
    assert [tier in shown for tier in ("memory", "store", "warm")] == [True] * 3
    assert "1 misses, 0 shared a generation" in shown
    assert "alerts: none" in shown


def test_clear_forgets_a_tenant_s_answers_and_wants_to_know_whose(
    echo: EchoServer, tmp_path: Path
) -> None:
    file = questions(tmp_path, body_of("one"), body_of("two"))
    run("warm", file, "--url", echo.url)
    assert run("clear", "--url", echo.url).exit_code == 2
    assert run("clear", "--all", "--tenant", "x", "--url", echo.url).exit_code == 2
    assert told("clear", "--tenant", "acme", "--url", echo.url) == {"cleared": 0}
    assert run("clear", "--tenant", "local", "--url", echo.url).stdout == "Forgot 2 answers.\n"
    assert told("warm", file, "--url", echo.url)["made"] == 2
    assert told("clear", "--all", "--url", echo.url) == {"cleared": 2}


def test_explain_reads_a_request_and_tells_the_decision(echo: EchoServer, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps(body_of("one")))
    asked = ("explain", request, "--url", echo.url)
    missed = run(*asked).stdout
    assert missed.startswith("miss: Nothing is kept under this key.\nkey ")
    assert '"operation": "chat"' in missed
    run("warm", questions(tmp_path, body_of("one")), "--url", echo.url)
    assert run(*asked).stdout.startswith("hit: It is kept: memory, 0 s old.\n  memory: 0 s old")
    assert told(*asked, "--tenant", "acme")["decision"] == "miss"
    assert told(*asked, "--cache-control", "no-store")["decision"] == "bypass"
    from_pipe = told("explain", "-", "--url", echo.url, text=json.dumps(body_of("one")))
    assert from_pipe["decision"] == "hit"
    request.write_text("{")
    assert failure(*asked).startswith("The body is not JSON:")
    request.write_text("{}")
    assert "messages" in failure(*asked)


def test_packs_go_out_of_the_store_and_into_it(tmp_path: Path) -> None:
    given, back = tmp_path / "given.jsonl", tmp_path / "back.jsonl"
    answers = [answer_to(question, made_at=time.time()) for question in "abc"]
    write_pack(given, *answers)
    done = run("import", given, "--tenant", "acme")
    assert done.stdout == "acme has 3 answers (3 of phi3-echo) more.\n"
    assert told("export", back, "--tenant", "acme")["answers"] == 3
    assert {each.recording.identity for each in read_pack(back)} == {
        each.recording.identity for each in answers
    }
    empty = run("export", back, "--tenant", "globex")
    assert empty.stdout == f"{back} has 0 answers.\n"


def test_a_damaged_pack_is_refused_with_its_line(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack.jsonl", answer_to("a"), answer_to("b"))
    pack.write_bytes(pack.read_bytes().replace(b'"ttl_s":3600.0', b'"ttl_s":-3600.0', 1))
    assert "line 2 is not an answer (ttl_s" in failure("import", pack, "--tenant", "acme")


def test_without_a_store_there_is_nothing_to_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_CACHE_URL", "memory://")
    assert "nothing is kept outside of the service" in failure(
        "export", tmp_path / "pack.jsonl", "--tenant", "acme"
    )


def test_a_store_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_CACHE_URL", f"redis://127.0.0.1:{free_port()}/0")
    pack = write_pack(tmp_path / "pack.jsonl", answer_to("a", made_at=time.time()))
    assert failure("import", pack, "--tenant", "acme").startswith("The cache's store failed: ")
