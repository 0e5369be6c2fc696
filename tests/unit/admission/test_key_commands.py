"""`phi3-bento keys …` as an operator types it."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from phi3_bento.admission.commands import read_moment, read_span
from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import key_id_of
from phi3_bento.caller import Caller, Quota, Scope
from phi3_bento.cli import cli
from phi3_bento.database import open_database
from phi3_bento.errors import InvalidApiKey, StartFailure
from phi3_bento.secret import load_secret

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TERMS = [
    *("--tenant", "acme", "--name", "batch", "--scope", "inference", "--scope", "metrics"),
    *("--model", "phi3-demo", "--requests-per-minute", "60", "--tokens-per-minute", "9000"),
    *("--tokens-per-day", "100000", "--concurrent-requests", "4", "--priority", "2"),
    *("--slo-ttft-ms", "300", "--expires", "30d"),
]


@pytest.fixture(autouse=True)
def _data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["keys", *arguments])
    assert result.exception is None or isinstance(result.exception, StartFailure | SystemExit)
    return result


def create(*arguments: str) -> str:
    """A new key, as a shell's `$(…)` reads it."""
    result = run("create", *(arguments or ("--tenant", "acme")))
    assert result.exit_code == 0, result.output
    return result.stdout.rstrip("\n")


def show(token: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(run("show", key_id_of(token) or "").stdout)
    return shown


def failure(*arguments: str) -> str:
    exception = run(*arguments).exception
    assert isinstance(exception, StartFailure)
    return exception.message


def authenticate(token: str, data_dir: Path) -> Caller:
    """What a service on the same data directory makes of the key."""

    async def ask() -> Caller:
        engine = open_database(f"sqlite:///{data_dir / 'phi3.db'}")
        secret = load_secret(None, data_dir)
        try:
            ring = Keyring(KeyStore(engine, secret), secret)
            return await ring.authenticate(f"Bearer {token}", "192.0.2.1")
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def test_a_key_is_printed_once_and_alone_on_standard_output(tmp_path: Path) -> None:
    result = run("create", "--tenant", "acme")
    assert re.fullmatch(r"p3_[a-z2-7]{10}_[A-Za-z0-9_-]{32,}\n", result.stdout)
    assert "not shown again" in result.stderr
    secret_half = result.stdout.strip().split("_", 2)[2]
    later = [
        run("list"),
        run("list", "--json"),
        run("show", key_id_of(result.stdout.strip()) or ""),
    ]
    for output in (result.stderr, *(one.output for one in later)):
        assert secret_half not in output
    for file in tmp_path.iterdir():
        assert secret_half.encode() not in file.read_bytes()


def test_a_shell_reads_the_key_and_nothing_else(tmp_path: Path) -> None:
    command = f'KEY=$("{sys.executable}" -m phi3_bento keys create --tenant acme) && echo "[$KEY]"'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert authenticate(done.stdout.strip().strip("[]"), tmp_path).tenant == "acme"


def test_a_key_has_the_terms_of_its_options(tmp_path: Path) -> None:
    token = create(*TERMS)
    assert authenticate(token, tmp_path) == Caller(
        tenant="acme",
        key_id=key_id_of(token) or "",
        scopes=frozenset({Scope.INFERENCE, Scope.METRICS}),
        models=frozenset({"phi3-demo"}),
        quota=Quota(60, 9000, 100000, 4),
        priority=2,
        slo_ttft_ms=300,
    )
    shown = show(token)
    made, ends = (datetime.fromisoformat(shown[name]) for name in ("created_at", "expires_at"))
    assert timedelta(days=29, hours=23) < ends - made <= timedelta(days=30)
    assert (shown["name"], shown["status"], shown["tokens_per_day"]) == ("batch", "active", 100000)


def test_a_key_of_no_options_may_ask_every_model_for_ever(tmp_path: Path) -> None:
    token = create()
    caller = authenticate(token, tmp_path)
    assert (caller.scopes, caller.models, caller.quota) == ({Scope.INFERENCE}, None, Quota())
    assert show(token)["expires_at"] is None


def test_keys_are_listed_by_tenant_for_people_and_machines() -> None:
    first, second = create("--tenant", "acme"), create("--tenant", "zoo")
    listed = json.loads(run("list", "--json").stdout)
    assert [key["id"] for key in listed] == [key_id_of(first), key_id_of(second)]
    assert listed[0] == show(first)
    (only,) = json.loads(run("list", "--tenant", "zoo", "--json").stdout)
    assert only["tenant"] == "zoo"
    table = run("list").stdout
    assert all(word in table for word in (key_id_of(first) or "", "acme", "zoo", "active", "never"))


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    token, other = create(), create()
    assert "is revoked" in run("revoke", key_id_of(token) or "").stdout
    assert show(token)["status"] == "revoked"
    with pytest.raises(InvalidApiKey, match="was revoked"):
        authenticate(token, tmp_path)
    assert authenticate(other, tmp_path).tenant == "acme"


def test_a_rotated_key_and_its_successor_both_work_during_the_grace(tmp_path: Path) -> None:
    old = create("--tenant", "acme", "--priority", "3")
    result = run("rotate", key_id_of(old) or "", "--grace", "12h")
    new = result.stdout.rstrip("\n")
    assert new != old
    assert "not shown again" in result.stderr
    for token in (old, new):
        assert authenticate(token, tmp_path).priority == 3
    assert (show(new)["replaces"], show(new)["expires_at"]) == (key_id_of(old), None)
    left = datetime.fromisoformat(show(old)["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=11) < left <= timedelta(hours=12)


def test_after_a_rotation_without_grace_the_old_key_is_refused(tmp_path: Path) -> None:
    old = create()
    run("rotate", key_id_of(old) or "", "--grace", "0m")
    with pytest.raises(InvalidApiKey, match="has expired"):
        authenticate(old, tmp_path)


def test_a_machine_reads_a_new_key_as_json(tmp_path: Path) -> None:
    made = json.loads(run("create", "--tenant", "acme", "--json").stdout)
    assert key_id_of(made["token"]) == made["id"]
    rotated = json.loads(run("rotate", made["id"], "--json").stdout)
    assert authenticate(rotated["token"], tmp_path).key_id == rotated["id"]
    assert rotated["replaces"] == made["id"]


def test_an_unknown_id_is_said() -> None:
    for command in ("show", "revoke", "rotate"):
        message = failure(command, "aaaaaaaaaa")
        assert "aaaaaaaaaa" in message
        assert "phi3-bento keys list" in message


def test_what_cannot_be_a_key_is_refused_and_nothing_is_made() -> None:
    assert "'tenant'" in failure("create", "--tenant", "no tenant")
    for wrong in (
        ["--expires", "2020-01-01"],
        ["--expires", "soon"],
        ["--scope", "everything"],
        ["--tokens-per-minute", "0"],
    ):
        result = run("create", "--tenant", "acme", *wrong)
        assert result.exit_code == 2
        assert result.stdout == ""
    assert run("create").exit_code == 2
    assert json.loads(run("list", "--json").stdout) == []


def test_a_database_that_cannot_be_used_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phi3.db").write_bytes(b"no database " * 1000)
    assert "file is not a database" in failure("list")
    monkeypatch.setenv("PHI3_DATABASE_URL", "mysql://root:hunter2@localhost/phi3")
    message = failure("create", "--tenant", "acme")
    assert "PHI3_DATABASE_URL" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOON + timedelta(minutes=90)),
        ("12h", NOON + timedelta(hours=12)),
        ("30d", NOON + timedelta(days=30)),
        ("4w", NOON + timedelta(weeks=4)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T08:30", datetime(2027, 1, 31, 8, 30, tzinfo=UTC)),
        ("2027-01-31T08:30+02:00", datetime(2027, 1, 31, 6, 30, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_duration_or_a_date(text: str, moment: datetime) -> None:
    assert read_moment(text, NOON) == moment


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1.5h", "1y", "30 d", "0d", "2026-07-01"])
def test_what_is_no_end_to_come_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=re.escape(f"'{text}'")):
        read_moment(text, NOON)


def test_the_longest_duration_is_no_crash() -> None:
    assert read_moment("9999w", NOON) == NOON + timedelta(weeks=9999)
    with pytest.raises(typer.BadParameter, match="10000w"):
        read_span("10000w")
