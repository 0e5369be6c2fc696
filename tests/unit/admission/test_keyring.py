"""The keyring names every caller, and tells nobody anything else."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import key_id_of, new_token
from phi3_bento.caller import LOCAL_CALLER, Caller, Scope
from phi3_bento.errors import InvalidApiKey, PermissionDenied
from tests.unit.admission.keyrings import (
    ELSEWHERE,
    HERE,
    TTL_S,
    Clock,
    broken,
    changed,
    let_in,
    make_ring,
    refused,
)

API_KEY = "the-bootstrap-key-of-the-service"


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
