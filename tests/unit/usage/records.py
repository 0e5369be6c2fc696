"""Requests that have ended, for the tests of what is told about them."""

from phi3_bento.admission.doorkeeper import new_call
from phi3_bento.call import Call, Exchange
from phi3_bento.core import EngineTimes, Operation, TokenCount
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.record import RequestRecord


def record(outcome: str = "ok", **facts: object) -> RequestRecord:
    """A stream of three seconds with its first piece after 0.2."""
    made = RequestRecord(
        Operation.CHAT,
        "secret-id",
        model="phi3-echo",
        started_at=100.0,
        first_piece_at=100.2,
        ended_at=103.0,
        outcome=outcome,
        let_in=True,
        stream=True,
        predicted_s=0.5,
        tokens=TokenCount(prompt=7, cached=2, completion=3),
    )
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def hit(tier: str = "memory", saved_s: float = 1.25) -> RequestRecord:
    """An answer that was kept."""
    return record(cache_status="hit", cache_tier=tier, saved_s=saved_s, tokens=TokenCount(7))


def generated() -> RequestRecord:
    """An answer that the engine has made, with the times of its work."""
    return record(cache_status="miss", times=EngineTimes(100.05, 100.1, 100.2, 102.9))


def call(**headers: str) -> Call:
    """A call that came with `headers`, at 100 s."""
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    made = new_call({"type": "http", "headers": raw})
    made.started_at = 100.0
    return made


def exchange(
    *records: RequestRecord,
    status: int = 200,
    method: str = "POST",
    refusal: Phi3Error | None = None,
    **headers: str,
) -> Exchange:
    """A request over HTTP that has asked for `records`."""
    made = call(**headers)
    made.records.extend(records)
    made.spans = [("auth", 100.0, 100.01), ("cache", 100.02, 100.04)]
    return Exchange(made, method, "/v1/chat/completions", status, refusal, ended_at=103.0)
