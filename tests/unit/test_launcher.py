"""The launcher makes a command of the settings, and listens where nobody else does."""

import os
import socket
import sys
from pathlib import Path

import pytest

from phi3_bento import launcher
from phi3_bento.errors import StartFailure
from phi3_bento.launcher import (
    check_port,
    example_command,
    find_service_file,
)
from tests.support import REPOSITORY, free_port
from tests.unit.launches import launch_of

KEY = "a-key-of-sixteen-characters"


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
