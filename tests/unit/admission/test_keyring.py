"""The keyring names every caller, and tells nobody anything else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission import recall
from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import key_id_of, new_token
from phi3_bento.caller import LOCAL_CALLER, Caller, Scope
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import InvalidApiKey, PermissionDenied, Unavailable
from phi3_bento.phi3_error import Phi3Error
from tests.servers import new_database, postgresql_server

SECRET = b"the deployment's secret"
API_KEY = "the-bootstrap-key-of-the-service"
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.1"
TTL_S, STALE_S = 3.0, 300.0


class Clock:
    """Both clocks of the keyring, as the test sets them."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_database(f"sqlite:///{tmp_path / 'phi3.db'}")
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> KeyStore:
    return KeyStore(engine, SECRET, clock=clock.now)


def make_ring(store: KeyStore, clock: Clock, api_key: str | None = None) -> Keyring:
    return Keyring(store, SECRET, api_key=api_key, clock=clock.monotonic, now=clock.now)


@pytest.fixture
def ring(store: KeyStore, clock: Clock) -> Keyring:
    return make_ring(store, clock)


async def let_in(ring: Keyring, token: str | None, address: str | None = ELSEWHERE) -> Caller:
    return await ring.authenticate(None if token is None else f"Bearer {token}", address)


async def refused(ring: Keyring, token: str | None, address: str | None = ELSEWHERE) -> Phi3Error:
    with pytest.raises(Phi3Error) as caught:
        await let_in(ring, token, address)
    assert token is None or token not in caught.value.message
    return caught.value


def changed(token: str) -> str:
    """`token` with another last character."""
    return token[:-1] + ("A" if token[-1] != "A" else "B")


@asynccontextmanager
async def broken(engine: AsyncEngine) -> AsyncIterator[None]:
    """While this lasts, the database fails every question about keys."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE keys RENAME TO away"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO keys"))


@contextmanager
def questions(engine: AsyncEngine) -> Iterator[list[str]]:
    """The statements that the database was sent."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine.sync_engine, "before_cursor_execute", note)


def test_a_new_key_names_its_id_and_is_like_no_other() -> None:
    tokens = [new_token() for _ in range(200)]
    ids = [key_id_of(token) for token in tokens]
    assert len({*ids}) == len({token.split("_", 2)[2] for token in tokens}) == 200
    for token, key_id in zip(tokens, ids, strict=True):
        assert key_id is not None
        assert token.startswith(f"p3_{key_id}_")
        assert len(token.removeprefix(f"p3_{key_id}_")) >= 32


@pytest.mark.parametrize(
    "token",
    [
        "",
        "p3_abcdefghij_",
        f"sk_abcdefghij_{'x' * 40}",
        f"p3_ABCDEFGHIJ_{'x' * 40}",
        f"p3_abcdefghi_{'x' * 40}",
        f"p3_abcdefgh10_{'x' * 40}",
        f"p3_abcdefghij_{'x' * 31}",
        f"p3_abcdefghij_{'x' * 200}",
        f"p3_abcdefghij_{'x' * 39}!",
        f"p3_abcdefghij_{'x' * 40}\n",
        f" p3_abcdefghij_{'x' * 40}",
    ],
)
def test_what_has_not_the_form_of_a_key_has_no_id(token: str) -> None:
    assert key_id_of(token) is None
    assert key_id_of(f"p3_abcdefghij_{'x' * 40}") == "abcdefghij"


async def test_a_stored_key_names_its_caller_from_anywhere(store: KeyStore, ring: Keyring) -> None:
    terms = KeyTerms(tenant="acme", scopes=frozenset({Scope.METRICS}), priority=2)
    key, token = await store.create(terms)
    for address in (HERE, ELSEWHERE, None):
        assert await let_in(ring, token, address) == key.caller()


async def test_a_wrong_an_unknown_and_a_shapeless_key_are_refused_alike(
    store: KeyStore, ring: Keyring
) -> None:
    _, token = await store.create(KeyTerms(tenant="acme"))
    others = [changed(token), token.swapcase(), token + "A", token[:-1], new_token(), "sk-other"]
    messages = {(await refused(ring, other, HERE)).message for other in [*others, None]}
    assert len(messages) == 1
    assert "Authorization: Bearer" in messages.pop()


async def test_a_key_of_another_deployment_is_refused(
    engine: AsyncEngine, store: KeyStore, ring: Keyring
) -> None:
    _, token = await KeyStore(engine, b"another secret").create(KeyTerms(tenant="acme"))
    assert isinstance(await refused(ring, token, HERE), InvalidApiKey)


async def test_the_bootstrap_key_may_everything(store: KeyStore, clock: Clock) -> None:
    ring = make_ring(store, clock, API_KEY)
    caller = await let_in(ring, API_KEY)
    assert caller == Caller(tenant="default", key_id="bootstrap")
    assert caller.scopes == frozenset(Scope)
    for wrong in (changed(API_KEY), API_KEY + "x", new_token(), None):
        assert isinstance(await refused(ring, wrong, HERE), InvalidApiKey)


async def test_the_bootstrap_key_stands_beside_stored_keys(store: KeyStore, clock: Clock) -> None:
    ring = make_ring(store, clock, API_KEY)
    key, token = await store.create(KeyTerms(tenant="acme"))
    assert (await let_in(ring, token)).key_id == key.id
    assert (await let_in(ring, API_KEY)).key_id == "bootstrap"


async def test_the_bootstrap_key_works_without_a_database(
    engine: AsyncEngine, store: KeyStore, clock: Clock
) -> None:
    ring = make_ring(store, clock, API_KEY)
    async with broken(engine):
        assert (await let_in(ring, API_KEY)).key_id == "bootstrap"
        assert isinstance(await refused(ring, "sk-something"), InvalidApiKey)


@pytest.mark.parametrize("token", [None, "sk-anything", new_token()])
async def test_without_any_key_this_machine_is_let_in_and_no_other(
    ring: Keyring, token: str | None
) -> None:
    for address in (HERE, "127.8.9.10", "::1"):
        assert await let_in(ring, token, address) == LOCAL_CALLER
    for address in (ELSEWHERE, "0.0.0.0", "::", "localhost", "/run/phi3.sock", "", None):  # noqa: S104
        error = await refused(ring, token, address)
        assert isinstance(error, PermissionDenied)
        assert "PHI3_API_KEY" in error.message


async def test_the_first_key_closes_the_door_within_the_time_to_live(
    store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    assert await let_in(ring, None, HERE) == LOCAL_CALLER
    await store.create(KeyTerms(tenant="acme"))
    clock.passed_s += TTL_S
    assert isinstance(await refused(ring, None, HERE), InvalidApiKey)


async def test_the_last_key_s_end_does_not_open_the_door_again(
    store: KeyStore, clock: Clock, ring: Keyring
) -> None:
    """Behind a proxy on this machine that would let in everybody."""
    key, _ = await store.create(KeyTerms(tenant="acme"))
    await store.revoke(key.id)
    clock.passed_s += 4
    with pytest.raises(InvalidApiKey):
        await ring.authenticate(None, "127.0.0.1")


async def test_a_key_works_right_after_it_was_made(store: KeyStore, ring: Keyring) -> None:
    await let_in(ring, new_token(), HERE)
    key, token = await store.create(KeyTerms(tenant="acme"))
    assert (await let_in(ring, token)).key_id == key.id


async def test_a_key_that_ended_says_so_to_its_owner_alone(
    store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    revoked, revoked_token = await store.create(KeyTerms(tenant="acme"))
    await store.revoke(revoked.id)
    _, expired_token = await store.create(KeyTerms(tenant="acme", expires_at=clock.now()))
    for token, reason in ((revoked_token, "was revoked"), (expired_token, "has expired")):
        error = await refused(ring, token, HERE)
        assert isinstance(error, InvalidApiKey)
        assert reason in error.message
        await store.create(KeyTerms(tenant="acme"))
        clock.passed_s += TTL_S
        assert reason not in (await refused(ring, changed(token), HERE)).message


async def test_a_revocation_acts_within_the_time_to_live(
    store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    key, token = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    await store.revoke(key.id)
    clock.passed_s += TTL_S
    assert "was revoked" in (await refused(ring, token)).message


async def test_a_key_ends_at_its_time_however_lately_it_was_seen(
    store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    end = clock.now() + timedelta(seconds=1)
    _, token = await store.create(KeyTerms(tenant="acme", expires_at=end))
    clock.passed_s = 0.999
    await let_in(ring, token)
    clock.passed_s = 1.0
    assert "has expired" in (await refused(ring, token)).message


@pytest.mark.parametrize("is_known", [True, False])
async def test_the_database_is_asked_once_in_a_time_to_live(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock, is_known: bool
) -> None:
    _, token = await store.create(KeyTerms(tenant="acme"))
    given = token if is_known else new_token()
    with questions(engine) as sent:
        for expected in (1, 2) if is_known else (2, 4):  # a stranger: is there any key at all?
            for _ in range(20):
                await asyncio.gather(let_in(ring, given), return_exceptions=True)
                clock.passed_s += TTL_S / 20.001
            assert len(sent) == expected
            clock.passed_s += TTL_S


async def test_requests_at_once_ask_one_question_for_a_key_that_is_known(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, clock: Clock
) -> None:
    key, token = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    clock.passed_s += TTL_S
    with questions(engine) as sent:
        callers = await asyncio.gather(*(let_in(ring, token) for _ in range(50)))
    assert {caller.key_id for caller in callers} == {key.id}
    assert len(sent) == 1


async def test_many_unknown_ids_neither_fill_the_memory_nor_push_a_key_out(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "MAX_ENTRIES", 3)
    _, token = await store.create(KeyTerms(tenant="acme"))
    await let_in(ring, token)
    strangers = [new_token() for _ in range(5)]
    for stranger in strangers:
        await refused(ring, stranger)
    with questions(engine) as sent:
        await let_in(ring, token)
        await refused(ring, strangers[-1])
        assert len(sent) == 0
        await refused(ring, strangers[0])
        assert len(sent) == 1


async def test_of_more_keys_than_are_remembered_the_oldest_is_asked_for_again(
    engine: AsyncEngine, store: KeyStore, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "MAX_ENTRIES", 3)
    tokens = [(await store.create(KeyTerms(tenant="acme")))[1] for _ in range(4)]
    for token in tokens:
        await let_in(ring, token)
    with questions(engine) as sent:
        for token in tokens[1:]:
            await let_in(ring, token)
        assert len(sent) == 0
        await let_in(ring, tokens[0])
        assert len(sent) == 1


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
