"""Stores that do not answer, or are not ours, are found."""

import sqlite3

from typer.testing import CliRunner

from phi3_bento.cli import cli
from tests.support import free_port
from tests.unit.doctor.machines import Machine


def test_3_a_redis_that_does_not_answer(fresh: Machine) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    fresh.plant(PHI3_LIMITS_URL=url)
    assert "Redis does not answer" in fresh.the_problem("limits")
    fresh.plant(PHI3_CACHE_URL=url)
    assert set(fresh.problems()) == {"limits", "answers"}


def test_4_a_postgresql_that_does_not_answer(fresh: Machine) -> None:
    fresh.plant(PHI3_DATABASE_URL=f"postgresql://me:hunter2@127.0.0.1:{free_port()}/phi3")
    said = fresh.the_problem("database")
    assert "Check PHI3_DATABASE_URL" in said
    assert "hunter2" not in said


def test_13_a_database_of_a_newer_version(fresh: Machine) -> None:
    fresh.command("keys", "list", "--json")
    with sqlite3.connect(fresh.data_dir / "phi3.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "newer version" in fresh.the_problem("database")


def test_14_a_database_that_is_none(fresh: Machine) -> None:
    fresh.data_dir.mkdir()
    (fresh.data_dir / "phi3.db").write_bytes(b"something else than a database" * 100)
    assert "cannot be used" in fresh.the_problem("database")


def test_15_a_postgresql_without_pgvector(fresh: Machine, postgresql_url: str) -> None:
    fresh.plant(PHI3_SEMANTIC_CACHE="true", PHI3_VECTORS_URL=postgresql_url)
    assert "no pgvector" in fresh.the_problem("vectors")


def test_stores_that_answer_are_told_so(
    fresh: Machine, postgresql_url: str, redis_url: str
) -> None:
    fresh.plant(
        PHI3_DATABASE_URL=postgresql_url, PHI3_LIMITS_URL=redis_url, PHI3_CACHE_URL=redis_url
    )
    assert fresh.problems() == {}
    text = CliRunner().invoke(cli, ["doctor", "--quick"]).stdout
    assert "PostgreSQL answers" in text
    assert text.count("Redis answers") == 2
