"""While the database fails, keys that are known are honoured for a while."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission import recall
from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import new_token
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import InvalidApiKey, Unavailable
from tests.servers import new_database, postgresql_server
from tests.unit.admission.keyrings import (
    HERE,
    SECRET,
    STALE_S,
    TTL_S,
    Clock,
    broken,
    changed,
    let_in,
    make_ring,
    questions,
    refused,
)


async def test_while_the_database_fails_known_keys_are_honoured_for_a_while(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    key, token = await store.create(KeyTerms(tenant="acme"))
    _, unseen = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    async with broken(engine):
        clock.passed_s = STALE_S - 1
        assert (await let_in(ring, token)).key_id == key.id
        for other in (unseen, new_token(), None):
            error = await refused(ring, other, HERE)
            assert isinstance(error, Unavailable)
            assert error.headers["retry-after"] == "5"
        assert isinstance(await refused(ring, token[:-1] + "!", HERE), Unavailable)
        clock.passed_s = STALE_S + TTL_S
        assert isinstance(await refused(ring, token), Unavailable)
    clock.passed_s += TTL_S
    assert (await let_in(ring, token)).key_id == key.id
    assert (await let_in(ring, unseen)).tenant == "acme"


async def test_a_wrong_secret_is_wrong_during_an_outage_too(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    _, token = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    await refused(ring, changed(token))
    async with broken(engine):
        clock.passed_s = STALE_S - 1
        assert isinstance(await refused(ring, changed(token), HERE), InvalidApiKey)


async def test_an_expired_key_is_refused_during_an_outage_too(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    end = clock.now() + timedelta(seconds=10)
    _, token = await store.create(KeyTerms(tenant="acme", expires_at=end))
    await let_in(ring, token)
    async with broken(engine):
        clock.passed_s = 10.0
        assert "has expired" in (await refused(ring, token)).message


async def test_a_database_that_failed_is_left_in_peace_for_a_while(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    await store.create(KeyTerms(tenant="acme"))
    async with broken(engine):
        with questions(engine) as sent:
            for _ in range(20):
                assert isinstance(await refused(ring, new_token()), Unavailable)
        assert len(sent) == 1
        clock.passed_s += TTL_S
        with questions(engine) as sent:
            many = (refused(ring, new_token()) for _ in range(20))
            assert {type(error) for error in await asyncio.gather(*many)} == {Unavailable}
        assert len(sent) == 1


async def test_a_database_that_hangs_is_given_up(
    postgresql_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "ANSWER_LIMIT_S", 0.2)
    engine = open_database(await new_database(postgresql_url))
    await upgrade(engine)
    store = KeyStore(engine, SECRET, clock=clock.now)
    ring = make_ring(store, clock)
    key, token = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE"))
        clock.passed_s += TTL_S
        assert (await let_in(ring, token)).key_id == key.id
        clock.passed_s += TTL_S
        assert isinstance(await refused(ring, new_token()), Unavailable)
    await store.revoke(key.id)
    clock.passed_s += TTL_S
    assert "was revoked" in (await refused(ring, token)).message
    await engine.dispose()


async def test_a_database_server_that_ended_is_an_outage_like_any_other(
    tmp_path: Path, clock: Clock
) -> None:
    with postgresql_server(tmp_path) as url:
        engine = open_database(url)
        await upgrade(engine)
        store = KeyStore(engine, SECRET, clock=clock.now)
        ring = make_ring(store, clock)
        key, token = await store.create(KeyTerms(tenant="acme"))
        await let_in(ring, token)
    clock.passed_s += TTL_S
    assert (await let_in(ring, token)).key_id == key.id
    assert isinstance(await refused(ring, new_token(), HERE), Unavailable)
    await engine.dispose()
