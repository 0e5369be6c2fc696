"""BentoML's native operations are requests like any other."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import ValidationError

from phi3_bento.core import Job
from phi3_bento.engine.decision import DecisionReader
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import ContextLengthExceeded, EngineFailure, Unavailable
from phi3_bento.native import Decision, DecisionFailure, DecisionItem, NativeApi
from phi3_bento.parts import Parts
from phi3_bento.pipeline import Pipeline

LABELS = ["good", "bad", "neither"]


class ListeningEngine(EchoEngine):
    """An echo engine that remembers what it was asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bodies: list[dict[str, Any]] = []

    def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        self.bodies.append(job.payload)
        return super().run(job)


def new_pipeline(parts: Parts) -> Pipeline:
    return Pipeline(
        report=lambda _: None,
        ledger=parts.ledger,
        cache=parts.cache,
        max_choices=1,
        first_piece_limit_s=30,
    )


@pytest.fixture
def engine() -> ListeningEngine:
    return ListeningEngine(max_context_tokens=100)


@pytest.fixture
async def native(engine: ListeningEngine, parts: Callable[..., Parts]) -> NativeApi:
    made = parts()
    pipeline = new_pipeline(made)
    pipeline.open(engine, made.gate(engine.card))
    native = NativeApi(pipeline)
    native.open(await DecisionReader.for_engine(engine))
    engine.bodies.clear()
    return native


def item(text: str = "It rains.", labels: list[str] | None = None) -> DecisionItem:
    return DecisionItem(text=text, labels=LABELS if labels is None else labels)


def options(**changed: Any) -> dict[str, Any]:
    return {"max_tokens": 10, "temperature": 0.5, "system": None} | changed


async def test_a_prompt_is_generated_as_a_chat(native: NativeApi, engine: ListeningEngine) -> None:
    answer = await native.generate("one two three", **options(max_tokens=2))
    assert (answer.text, answer.finish_reason, answer.model) == ("one two", "stop", "phi3-echo")
    assert answer.usage.model_dump() == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cached_tokens": 0,
    }
    assert engine.bodies == [
        {
            "messages": [{"role": "user", "content": "one two three"}],
            "max_tokens": 2,
            "temperature": 0.5,
        }
    ]


async def test_a_system_prompt_comes_first(native: NativeApi, engine: ListeningEngine) -> None:
    await native.generate("Hi", **options(system="Be brief."))
    assert [message["role"] for message in engine.bodies[0]["messages"]] == ["system", "user"]


async def test_a_stream_yields_the_same_text_in_pieces(native: NativeApi) -> None:
    pieces = [piece async for piece in native.generate_stream("one two", **options())]
    assert pieces == ["one", " two"]


async def test_who_leaves_a_stream_stops_the_engine(
    native: NativeApi, engine: ListeningEngine
) -> None:
    async with aclosing(native.generate_stream("one two three", **options())) as pieces:
        assert await anext(pieces) == "one"
        assert engine.running == 1
    assert (engine.running, engine.aborted) == (0, 1)


async def test_a_failure_is_raised_as_it_is(native: NativeApi, engine: ListeningEngine) -> None:
    with pytest.raises(ContextLengthExceeded):
        await native.generate("word " * 200, **options())
    engine.enqueue(EngineFailure("It broke."))
    with pytest.raises(EngineFailure):
        _ = [piece async for piece in native.generate_stream("Hi", **options())]


async def test_a_decision_names_the_likeliest_label_and_all_probabilities(
    native: NativeApi, engine: ListeningEngine
) -> None:
    (decision,) = await native.classify([item()])
    assert isinstance(decision, Decision)
    assert decision.label == "good"
    assert list(decision.probabilities) == LABELS
    assert sum(decision.probabilities.values()) == pytest.approx(1)
    assert decision.usage.prompt_tokens > 0
    assert engine.bodies[-1]["max_tokens"] == 1


async def test_every_item_gets_its_own_answer_and_a_bad_one_fails_alone(native: NativeApi) -> None:
    items = [
        item(),
        item(labels=["only"]),
        item(text=" "),
        item(text="word " * 200),
        item(labels=["x", "y"]),
    ]
    decisions = await native.classify(items)
    assert [getattr(decision, "label", None) for decision in decisions] == [
        *("good", None, None, None, "x")
    ]
    failures = [entry.error for entry in decisions if isinstance(entry, DecisionFailure)]
    assert [failure["param"] for failure in failures] == ["labels", "text", "messages"]
    assert {failure["type"] for failure in failures} == {"invalid_request_error"}
    assert json.loads(json.dumps(failures)) == failures


async def test_no_items_are_no_decisions(native: NativeApi) -> None:
    assert await native.classify([]) == []


async def test_before_the_engine_is_there_every_operation_says_so(
    parts: Callable[..., Parts],
) -> None:
    pipeline = new_pipeline(parts())
    native = NativeApi(pipeline)
    with pytest.raises(Unavailable, match="starts"):
        await native.generate("Hi", **options())
    (failure,) = await native.classify([item()])
    assert isinstance(failure, DecisionFailure)
    assert failure.error["code"] == "service_unavailable"


def test_an_item_with_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="instructions"):
        DecisionItem.model_validate({"text": "x", "labels": LABELS, "instructions": "typo"})
