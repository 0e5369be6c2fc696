"""Answers that are carried to another tenant or deployment are its own there, and nobody else's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phi3_bento.cache.entry import Entry, unwrap, wrap
from phi3_bento.cache.pack import read_pack
from phi3_bento.cache.policy import key_of, scope_of
from phi3_bento.cache.replay import pack, unpack
from phi3_bento.cache.store import SqliteStore, Store
from phi3_bento.cache.transfer import Exported, Imported, export_answers, import_answers
from phi3_bento.errors import StartFailure
from tests.unit.cache.packs import MADE_AT, OTHER_CARD, answer_to, write_pack

HERE, THERE = b"one deployment's secret", b"another deployment's secret"
NOW = MADE_AT + 60


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[list[Store]]:
    """The stores of two deployments."""
    made = [SqliteStore(tmp_path / f"{name}.db", 2**24, lambda: NOW) for name in ("here", "there")]
    yield list(made)
    for each in made:
        await each.close()


async def keep(store: Store, question: str, tenant: str, secret: bytes = HERE) -> None:
    answer = answer_to(question)
    entry = Entry(pack(answer.recording), MADE_AT, answer.ttl_s, answer.engine_ms)
    scope = scope_of(secret, tenant)
    key = key_of(scope, answer.recording.identity)
    await store.put(key, wrap(entry, scope, key, secret), ttl_s=3600, scope=scope)


async def kept(store: Store, question: str, tenant: str, secret: bytes) -> Entry | None:
    """What a service with this secret finds for the tenant."""
    key = key_of(scope_of(secret, tenant), answer_to(question).recording.identity)
    sealed = await store.get(key)
    return None if sealed is None else unwrap(sealed, key, secret)[0]


async def test_what_is_exported_and_imported_is_the_new_tenant_s_alone(
    stores: list[Store], tmp_path: Path
) -> None:
    here, there = stores
    for question, tenant in (("a", "acme"), ("b", "acme"), ("c", "globex")):
        await keep(here, question, tenant)
    path = tmp_path / "pack.jsonl"
    done = await export_answers(here, HERE, "acme", path, now=NOW)
    assert done == Exported(2, {"phi3-echo": 2})
    imported = await import_answers(there, THERE, "initech", path, now=NOW)
    assert imported == Imported(2, {"phi3-echo": 2})
    entry = await kept(there, "a", "initech", THERE)
    assert entry is not None
    assert unpack(entry.body).pieces == answer_to("a").recording.pieces
    assert (entry.created_at, entry.ttl_s, entry.engine_ms) == (MADE_AT, 3600.0, 1500.0)
    assert await kept(there, "c", "initech", THERE) is None
    for tenant in ("acme", "globex", "local", ""):
        assert await kept(there, "a", tenant, THERE) is None
    assert await kept(there, "a", "initech", HERE) is None


async def test_answers_keep_their_age_and_those_that_are_over_stay_behind(
    stores: list[Store], tmp_path: Path
) -> None:
    here, _ = stores
    path = write_pack(tmp_path / "pack.jsonl", answer_to("a"))
    later = await import_answers(here, HERE, "acme", path, now=MADE_AT + 3600)
    assert later == Imported(0, {}, expired=1)
    await import_answers(here, HERE, "acme", path, now=MADE_AT + 3599.99)
    assert await kept(here, "a", "acme", HERE) is not None


async def test_answers_of_every_model_are_taken_and_counted(
    stores: list[Store], tmp_path: Path
) -> None:
    path = write_pack(tmp_path / "pack.jsonl", answer_to("a"), answer_to("a", OTHER_CARD))
    done = await import_answers(stores[0], HERE, "acme", path, now=NOW)
    assert done.models == {"phi3-echo": 1, "phi3-echo r2": 1}


async def test_of_a_damaged_pack_nothing_is_imported(stores: list[Store], tmp_path: Path) -> None:
    path = write_pack(tmp_path / "pack.jsonl", answer_to("a"), answer_to("b"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StartFailure, match="cut off"):
        await import_answers(stores[0], HERE, "acme", path, now=NOW)
    assert (await stores[0].size()).entries == 0


async def test_what_this_deployment_has_not_sealed_is_not_exported(
    stores: list[Store], tmp_path: Path
) -> None:
    here, _ = stores
    await keep(here, "a", "acme")
    scope = scope_of(HERE, "acme")
    await here.put("0b", b"forged", ttl_s=60, scope=scope)
    done = await export_answers(here, HERE, "acme", tmp_path / "pack.jsonl", now=NOW)
    assert done == Exported(1, {"phi3-echo": 1}, damaged=1)
    assert len(list(read_pack(tmp_path / "pack.jsonl"))) == 1
