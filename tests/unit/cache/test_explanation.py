"""What `explain` says of a request is what then happens to it, and nothing happens by saying it."""

import asyncio
import json
import random
from typing import Any

import pytest

from phi3_bento.call import Call
from phi3_bento.caller import Caller
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest, NotCached
from tests.support import wait_for_async
from tests.unit.bench import CHAT, Bench, MakeParts

GREEDY = CHAT | {"temperature": 0}
SECOND = {"messages": [{"role": "user", "content": "four five"}], "temperature": 0}
BODIES: list[dict[str, Any]] = [
    GREEDY,
    SECOND,
    GREEDY | {"stream": True},
    GREEDY | {"seed": 1},
    CHAT | {"temperature": 1},
    CHAT | {"temperature": 1, "seed": 7},
    CHAT | {"max_tokens": 2},
    GREEDY | {"prompt_logprobs": 1},
    GREEDY | {"stream": True, "stream_options": {"continuous_usage_stats": True}},
]
HEADERS = [
    *(None, None, None, "no-store", "no-cache", "only-if-cached", "max-age=0", "max-age=60"),
    *("max-age=0, only-if-cached", "no-cache, only-if-cached"),
]


def call_of(tenant: str, cache_control: str | None) -> Call:
    return Call(Caller(tenant, "k"), "id", cache_control=cache_control)


async def told(bench: Bench, body: dict[str, Any], call: Call) -> dict[str, Any]:
    explanation = await bench.pipeline.explain(Operation.CHAT, body, call)
    document: dict[str, Any] = json.loads(json.dumps(explanation.as_dict()))
    return document


async def happened(bench: Bench, body: dict[str, Any], call: Call) -> str:
    """What became of the request."""
    try:
        async for _ in bench.pipeline.answer(Operation.CHAT, body, call):
            pass
    except NotCached:
        return "miss, and 504"
    status = call.headers["cache-status"].removeprefix("phi3; ").partition(";")[0]
    return {"hit": "hit", "fwd=bypass": "bypass"}.get(status, "miss")


async def test_what_is_explained_is_what_happens(parts: MakeParts) -> None:
    bench = Bench(parts).opened()
    dice, seen = random.Random(11), set()  # noqa: S311 # the same walk every time
    for turn in range(300):
        if turn % 40 == 39:
            await bench.parts.cache.clear(dice.choice(["acme", "globex", None]))
        body, header = dice.choice(BODIES), dice.choice(HEADERS)
        tenant = dice.choice(["acme", "globex"])
        started = bench.engine.started
        before = await told(bench, body, call_of(tenant, header))
        again = await told(bench, body, call_of(tenant, header))
        assert before["decision"] == again["decision"]
        assert bench.engine.started == started
        expected = before["decision"] + (", and 504" if "gets 504" in before["reason"] else "")
        assert await happened(bench, body, call_of(tenant, header)) == expected, (body, header)
        seen.add(expected)
    assert seen == {"hit", "miss", "miss, and 504", "bypass"}


async def test_an_explanation_names_the_key_its_parts_and_where_the_answer_is(
    parts: MakeParts,
) -> None:
    bench = Bench(parts).opened()
    missing = await told(bench, GREEDY, call_of("acme", None))
    assert (missing["decision"], missing["kept"]) == ("miss", [])
    assert missing["reason"] == "Nothing is kept under this key."
    bench.engine.enqueue("the answer itself")
    await happened(bench, GREEDY, call_of("acme", None))
    hit = await told(bench, GREEDY, call_of("acme", None))
    assert (hit["decision"], hit["key"]) == ("hit", missing["key"])
    assert hit["identity"]["model"] == "phi3-echo"
    assert hit["identity"]["body"] == GREEDY
    (kept,) = hit["kept"]
    assert kept["in"] == "memory"
    assert 0 <= kept["age_s"] < 60
    assert "the answer itself" not in json.dumps(hit)
    other = await told(bench, GREEDY, call_of("globex", None))
    assert (other["decision"], other["identity"]) == ("miss", hit["identity"])
    assert other["key"] != hit["key"]
    too_old = await told(bench, GREEDY, call_of("acme", "max-age=0"))
    assert (too_old["decision"], len(too_old["kept"])) == ("miss", 1)
    assert too_old["directives"]["max_age_s"] == 0


async def test_what_runs_now_is_told_as_shared(parts: MakeParts) -> None:
    bench = Bench(parts).opened()
    bench.engine.word_s = 60
    task = bench.started(GREEDY)

    async def runs() -> bool:
        return bench.engine.running == 1

    await wait_for_async(runs, "the engine runs")
    assert (await told(bench, GREEDY, call_of("local", None)))["decision"] == "collapsed"
    assert (await told(bench, GREEDY, call_of("acme", None)))["decision"] == "miss"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_cache_that_is_off_says_so(parts: MakeParts) -> None:
    bench = Bench(lambda metrics: parts(metrics, cache=False)).opened()
    explained = await told(bench, GREEDY, call_of("acme", None))
    assert (explained["decision"], explained["reason"]) == (
        "bypass",
        "The cache is off (PHI3_CACHE).",
    )


@pytest.mark.parametrize(
    ("body", "header"),
    [({"messages": "x"}, None), (GREEDY, "max-age=soon"), (GREEDY | {"temperature": -1}, None)],
)
async def test_a_request_that_would_be_refused_is_refused_here(
    parts: MakeParts, body: dict[str, Any], header: str | None
) -> None:
    bench = Bench(parts).opened()
    with pytest.raises(InvalidRequest):
        await told(bench, body, call_of("acme", header))
