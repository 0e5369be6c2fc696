"""An Idempotency-Key over the real engine: a sampled answer comes again as it was, once paid."""

import asyncio
from uuid import uuid4

import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.faults.ledgers import rows
from tests.support import Service

pytestmark = pytest.mark.engine


def client_of(service: Service) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


async def ask(client: openai.AsyncOpenAI, key: str | None, **fields: float) -> ChatCompletion:
    return await client.chat.completions.create(
        model="phi3-demo",
        messages=[{"role": "user", "content": "Tell me something."}],
        max_tokens=24,
        extra_headers={"Idempotency-Key": key} if key else {},
        **{"temperature": 2.0, **fields},
    )


def said(answer: ChatCompletion) -> str | None:
    return answer.choices[0].message.content


async def test_a_sampled_answer_comes_again_to_a_retry_and_to_no_other(service: Service) -> None:
    key = uuid4().hex
    async with client_of(service) as client:
        first = await ask(client, key)
        assert {said(await ask(client, key)) for _ in range(3)} == {said(first)}
        assert len({said(await ask(client, None)) for _ in range(4)}) > 1
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await ask(client, key, top_p=0.5)
        assert caught.value.code == "idempotency_key_reused"


async def test_twins_at_the_same_moment_are_one_generation(service: Service) -> None:
    key = uuid4().hex
    async with client_of(service) as client:
        before = len(rows(service.data_dir))
        answers = await asyncio.gather(*(ask(client, key) for _ in range(8)))
    assert len({said(answer) for answer in answers}) == 1
    assert len({answer.id for answer in answers}) == 8, "each has its own id"
    assert len(rows(service.data_dir)) - before == 8


async def test_the_same_request_id_twice_at_once_is_two_requests(service: Service) -> None:
    async with client_of(service) as client:
        before = len(rows(service.data_dir))
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="phi3-demo",
                    messages=[{"role": "user", "content": f"Number {number}?"}],
                    max_tokens=40,
                    temperature=1,
                    extra_headers={"X-Request-Id": "the-same"},
                )
                for number in range(6)
            )
        )
    assert all(answer.choices[0].finish_reason for answer in answers)
    found = [row for row in rows(service.data_dir)[before:] if row[0] == "the-same"]
    assert found == [("the-same", "ok")] * 6
