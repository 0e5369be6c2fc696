"""The API answers in OpenAI's form also where nobody foresaw the failure."""

from collections.abc import Callable

import httpx
from prometheus_client import CollectorRegistry

from phi3_bento.admission.door import Door
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.parts import Parts
from phi3_bento.pipeline import Pipeline
from phi3_bento.routes import build_api
from phi3_bento.usage.metrics import Metrics


async def test_a_bug_gets_500_in_openai_s_form_and_is_raised_for_the_log(
    parts: Callable[..., Parts],
) -> None:
    engine = EchoEngine()
    engine.enqueue(ZeroDivisionError("secret"))
    metrics = Metrics(CollectorRegistry())
    made = parts(metrics)
    pipeline = Pipeline(
        report=lambda _: None,
        ledger=made.ledger,
        cache=made.cache,
        max_choices=1,
        first_piece_limit_s=30,
    )
    pipeline.open(engine, made.gate(engine.card))
    api = build_api(pipeline, database=made.database, keep_alive_s=15)
    raised: list[BaseException] = []

    async def server(scope, receive, send):  # type: ignore[no-untyped-def]
        door = Door(api, doorkeeper=made.doorkeeper, max_body_bytes=1000, native_paths=[])
        try:
            await door(scope, receive, send)
        except ZeroDivisionError as error:
            raised.append(error)

    transport = httpx.ASGITransport(app=server)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        body = {"messages": [{"role": "user", "content": "x"}]}
        response = await client.post("/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_failure")
    assert response.headers["x-request-id"]
    assert "secret" not in response.text
    assert len(raised) == 1
