"""What is known of a key is remembered, for a while and not without end."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission import recall
from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import new_token
from tests.unit.admission.keyrings import TTL_S, Clock, let_in, questions, refused


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
