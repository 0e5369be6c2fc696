"""A database that cannot be used is refused in a sentence, without its password."""

import socket
import sqlite3
from pathlib import Path

import pytest

from phi3_bento import database
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import StartFailure
from tests.support import free_port

PASSWORD = "hunter2/not:shown"
ENCODED = "hunter2%2Fnot%3Ashown"


async def refusal(url: str) -> str:
    """What stops a start on `url`."""
    with pytest.raises(StartFailure) as caught:
        engine = open_database(url)
        try:
            await upgrade(engine)
        finally:
            await engine.dispose()
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "phi3.db",
        "mysql://root:hunter2@localhost/phi3",
        "postgresql+psycopg://root:hunter2@localhost/phi3",
        "postgresql://root:hunter2@localhost:hunter2/phi3",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
async def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    message = await refusal(url)
    assert "PHI3_DATABASE_URL" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_a_postgresql_that_does_not_listen_is_named(scheme: str) -> None:
    port = free_port()
    message = await refusal(f"{scheme}://phi3:{ENCODED}@127.0.0.1:{port}/phi3")
    assert f"postgresql://phi3:***@127.0.0.1:{port}/phi3 cannot be used" in message
    assert "PHI3_DATABASE_URL" in message
    assert not any(part in message for part in (PASSWORD, ENCODED, "hunter2"))


async def test_a_postgresql_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "CONNECT_LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        message = await refusal(f"postgresql://phi3:{ENCODED}@127.0.0.1:{port}/phi3")
    assert "TimeoutError" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("/missing", 'database "missing" does not exist'),
        ("/postgres?colour=red", "colour"),
        ("/postgres?sslmode=require", "SSL"),
        ("/postgres?sslmode=hunter2", "sslmode"),
    ],
)
async def test_what_postgresql_refuses_is_said(
    postgresql_url: str, change: str, reason: str
) -> None:
    server = postgresql_url.rpartition("/")[0].replace("@", f":{ENCODED}@")
    message = await refusal(server + change)
    assert reason in message
    assert PASSWORD not in message


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "phi3.db"
    path.write_bytes(b"no database " * 1000)
    message = await refusal(f"sqlite:///{path}")
    assert "file is not a database" in message
    assert str(path) in message
    assert path.read_bytes() == b"no database " * 1000


async def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "phi3.db"
    engine = open_database(f"sqlite:///{path}")
    await upgrade(engine)
    await engine.dispose()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)
    assert "malformed" in await refusal(f"sqlite:///{path}")


async def test_a_database_that_may_only_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "phi3.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (id)")
    connection.close()
    with path.open("r+b") as file:
        # SQLite's own mark of a file that may only be read; permissions do not bind root.
        file.seek(18)
        file.write(b"\x03")
    assert "readonly" in await refusal(f"sqlite:///{path}")


async def test_a_place_where_no_file_can_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = await refusal(f"sqlite:///{tmp_path / 'file' / 'phi3.db'}")
    assert "cannot be made" in message
    assert "PHI3_DATA_DIR" in message
