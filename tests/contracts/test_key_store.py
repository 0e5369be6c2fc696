"""One suite for the key store over every database: SQLite and PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission import key_store
from phi3_bento.admission.key_store import KeyStatus, KeyStore, KeyTerms, StoredKey
from phi3_bento.admission.keys import digest_of, key_id_of
from phi3_bento.caller import Caller, Quota, Scope
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import InvalidRequest, NotFound
from phi3_bento.tables import keys, tenants
from tests.servers import new_database

SECRET = b"the deployment's secret"
NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
ALL_TERMS = KeyTerms(
    tenant="acme",
    name="the batch job of März",
    scopes=frozenset({Scope.INFERENCE, Scope.METRICS}),
    models=frozenset({"phi-3-mini", "phi3-demo"}),
    quota=Quota(60, 2**31 - 1, 2**40, 4),
    priority=-3,
    slo_ttft_ms=250,
    semantic_cache=True,
    expires_at=NOON + 30 * 24 * HOUR,
)


class Clock:
    """The time of day, as the test sets it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = f"sqlite:///{tmp_path / 'phi3.db'}"
    if request.param == "postgresql":
        url = await new_database(request.getfixturevalue("postgresql_url"))
    engine = open_database(url)
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> KeyStore:
    return KeyStore(engine, SECRET, clock=clock)


def terms_of(key: StoredKey) -> dict[str, object]:
    return {part.name: getattr(key, part.name) for part in fields(KeyTerms)}


@pytest.mark.parametrize("terms", [KeyTerms(tenant="acme"), ALL_TERMS])
async def test_a_key_is_found_as_it_was_made(store: KeyStore, terms: KeyTerms) -> None:
    key, token = await store.create(terms)
    assert await store.find(key.id) == key
    assert terms_of(key) == {part.name: getattr(terms, part.name) for part in fields(KeyTerms)}
    assert (key.created_at, key.revoked_at, key.replaces) == (NOON, None, None)
    assert key.id == key_id_of(token)
    assert key.digest == digest_of(token, SECRET)


async def test_a_key_names_its_caller(store: KeyStore) -> None:
    key, _ = await store.create(ALL_TERMS)
    assert key.caller() == Caller(
        tenant="acme",
        key_id=key.id,
        scopes=ALL_TERMS.scopes,
        models=ALL_TERMS.models,
        quota=ALL_TERMS.quota,
        priority=-3,
        slo_ttft_ms=250,
        semantic_cache=True,
    )


async def test_a_key_of_few_terms_may_only_ask_models(store: KeyStore) -> None:
    key, _ = await store.create(KeyTerms(tenant="acme"))
    caller = key.caller()
    assert caller.scopes == {Scope.INFERENCE}
    assert (caller.models, caller.quota, caller.priority, caller.slo_ttft_ms) == (
        None,
        Quota(),
        0,
        None,
    )


async def test_the_database_holds_nothing_that_opens_the_door(
    engine: AsyncEngine, store: KeyStore
) -> None:
    key, token = await store.create(ALL_TERMS)
    async with engine.connect() as connection:
        (row,) = (await connection.execute(select(keys))).all()
    secret_half = token.split("_", 2)[2]
    assert key.id in str(row)
    assert secret_half not in str(row)
    assert key.digest not in repr(key)
    assert digest_of(token, b"another deployment's secret") != key.digest


async def test_an_unknown_id_finds_nothing_and_its_change_says_what_to_do(store: KeyStore) -> None:
    assert await store.find("aaaaaaaaaa") is None
    for change in (store.revoke("aaaaaaaaaa"), store.rotate("aaaaaaaaaa", HOUR)):
        with pytest.raises(NotFound, match="'aaaaaaaaaa'; 'phi3-bento keys list'"):
            await change


async def test_an_id_that_is_taken_is_not_overwritten(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = await store.create(ALL_TERMS)
    monkeypatch.setattr(key_store, "new_token", lambda: token)
    with pytest.raises(InvalidRequest, match=f"'{key.id}' is taken already; try again"):
        await store.create(KeyTerms(tenant="other"))
    assert await store.list() == (key,)


async def test_keys_are_listed_oldest_first_and_by_tenant(store: KeyStore, clock: Clock) -> None:
    made = []
    for tenant in ("acme", "zoo", "acme"):
        made.append((await store.create(KeyTerms(tenant=tenant)))[0])
        clock.now += INSTANT
    assert await store.list() == tuple(made)
    assert await store.list("acme") == (made[0], made[2])
    assert await store.list("nobody") == ()


async def test_a_tenant_is_made_with_its_first_key(engine: AsyncEngine, store: KeyStore) -> None:
    for tenant in ("acme", "acme", "zoo"):
        await store.create(KeyTerms(tenant=tenant))
    async with engine.connect() as connection:
        rows = await connection.execute(select(tenants).order_by(tenants.c.id))
        assert rows.all() == [("acme", NOON), ("zoo", NOON)]


async def test_a_revoked_key_has_ended_and_stays_as_it_was_revoked_first(
    store: KeyStore, clock: Clock
) -> None:
    key, _ = await store.create(ALL_TERMS)
    clock.now = NOON + HOUR
    revoked = await store.revoke(key.id)
    assert revoked == replace(key, revoked_at=NOON + HOUR)
    assert revoked.status(NOON) is KeyStatus.REVOKED
    clock.now = NOON + 2 * HOUR
    assert await store.revoke(key.id) == revoked
    assert await store.find(key.id) == revoked


async def test_a_rotated_key_has_the_same_terms_and_the_old_one_ends_after_the_grace(
    store: KeyStore, clock: Clock
) -> None:
    old, old_token = await store.create(ALL_TERMS)
    clock.now = NOON + HOUR
    new, token = await store.rotate(old.id, grace=HOUR)
    assert terms_of(new) == terms_of(old)
    assert (new.replaces, new.created_at, token != old_token) == (old.id, NOON + HOUR, True)
    assert await store.find(new.id) == new
    ending = await store.find(old.id)
    assert ending == replace(old, expires_at=NOON + 2 * HOUR)
    assert ending.status(NOON + 2 * HOUR - INSTANT) is KeyStatus.ACTIVE
    assert ending.status(NOON + 2 * HOUR) is KeyStatus.EXPIRED


async def test_a_rotation_never_prolongs_the_old_key(store: KeyStore) -> None:
    old, _ = await store.create(replace(ALL_TERMS, expires_at=NOON + HOUR))
    await store.rotate(old.id, grace=2 * HOUR)
    assert await store.find(old.id) == old


async def test_a_key_without_end_gets_one_by_rotation_and_its_successor_has_none(
    store: KeyStore,
) -> None:
    old, _ = await store.create(KeyTerms(tenant="acme"))
    new, _ = await store.rotate(old.id, grace=timedelta(0))
    ended = await store.find(old.id)
    assert ended is not None
    assert ended.status(NOON) is KeyStatus.EXPIRED
    assert new.expires_at is None


async def test_a_key_that_has_ended_cannot_be_rotated(store: KeyStore) -> None:
    revoked, _ = await store.create(ALL_TERMS)
    await store.revoke(revoked.id)
    expired, _ = await store.create(replace(ALL_TERMS, expires_at=NOON))
    for key, status in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(InvalidRequest, match=f"is {status}; create a new one"):
            await store.rotate(key.id, HOUR)
    assert len(await store.list()) == 2


async def test_some_key_is_active_until_the_last_has_ended(store: KeyStore) -> None:
    assert not await store.any_active(NOON)
    assert not await store.any_stored()
    endless, _ = await store.create(KeyTerms(tenant="acme"))
    await store.create(KeyTerms(tenant="acme", expires_at=NOON + HOUR))
    assert await store.any_active(NOON + 2 * HOUR)
    await store.revoke(endless.id)
    assert await store.any_active(NOON + HOUR - INSTANT)
    assert not await store.any_active(NOON + HOUR)
    assert await store.any_stored()


async def test_an_end_may_be_given_in_any_zone(store: KeyStore) -> None:
    east = timezone(timedelta(hours=9))
    key, _ = await store.create(KeyTerms(tenant="acme", expires_at=(NOON + HOUR).astimezone(east)))
    found = await store.find(key.id)
    assert found is not None
    assert found.expires_at == NOON + HOUR
    assert await store.any_active(NOON + HOUR - INSTANT)
    assert not await store.any_active(NOON + HOUR)


async def test_many_may_change_keys_at_once(store: KeyStore) -> None:
    made = await asyncio.gather(*(store.create(KeyTerms(tenant="acme")) for _ in range(20)))
    await asyncio.gather(
        *(store.rotate(key.id, HOUR) for key, _ in made[:10]),
        *(store.revoke(key.id) for key, _ in made[10:]),
        *(store.create(KeyTerms(tenant="zoo")) for _ in range(5)),
    )
    statuses = [key.status(NOON) for key in await store.list()]
    assert statuses.count(KeyStatus.REVOKED) == 10
    assert statuses.count(KeyStatus.ACTIVE) == 25


async def test_of_a_rotation_and_a_revocation_at_once_the_old_key_ends_revoked(
    store: KeyStore,
) -> None:
    for _ in range(10):
        key, _ = await store.create(KeyTerms(tenant="acme"))
        results = await asyncio.gather(
            store.rotate(key.id, HOUR), store.revoke(key.id), return_exceptions=True
        )
        found = await store.find(key.id)
        assert found is not None
        assert found.status(NOON) is KeyStatus.REVOKED
        assert isinstance(results[0], tuple | InvalidRequest)


async def test_a_rotation_that_fails_changes_nothing(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = await store.create(KeyTerms(tenant="acme"))
    monkeypatch.setattr(key_store, "new_token", lambda: token)
    with pytest.raises(InvalidRequest):
        await store.rotate(key.id, HOUR)
    assert await store.list() == (key,)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": "-a"}, "tenant"),
        ({"tenant": "a" * 65}, "tenant"),
        ({"tenant": "a\n"}, "tenant"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"scopes": frozenset()}, "scopes"),
        ({"models": frozenset()}, "models"),
        ({"expires_at": NOON.replace(tzinfo=None)}, "expires_at"),
        ({"slo_ttft_ms": 0}, "slo_ttft_ms"),
        ({"priority": 2**31}, "priority"),
        ({"quota": Quota(requests_per_minute=0)}, "requests_per_minute"),
        ({"quota": Quota(tokens_per_minute=2**31)}, "tokens_per_minute"),
        ({"quota": Quota(tokens_per_day=2**63)}, "tokens_per_day"),
        ({"quota": Quota(concurrent_requests=-1)}, "concurrent_requests"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_name(change: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(param)) as caught:
        replace(ALL_TERMS, **change)  # type: ignore[arg-type]
    assert caught.value.param == param


async def test_a_tenant_of_a_key_cannot_be_taken_away(engine: AsyncEngine, store: KeyStore) -> None:
    await store.create(KeyTerms(tenant="acme"))
    async with engine.connect() as connection:
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            await connection.execute(text("DELETE FROM tenants"))
