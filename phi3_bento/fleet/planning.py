"""`phi3-bento plan --rps …`: how many replicas a load needs."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from phi3_bento.fleet.capacity import (
    BUSY_SHARE,
    FULL_SIZE_TWO_CORES,
    Demand,
    Need,
    Speed,
    need_of,
)

Rps = Annotated[
    float | None,
    typer.Option("--rps", min=0.001, help="Requests a second: how many replicas do they need?"),
]
HitRate = Annotated[
    float, typer.Option(min=0, max=1, help="Of these, the share that the cache answers.")
]
Prompt = Annotated[
    int, typer.Option(min=1, help="Tokens of a prompt that the KV cache does not hold.")
]
Output = Annotated[int, typer.Option(min=1, help="Tokens of an answer.")]
Prefill = Annotated[
    float, typer.Option(min=0.001, help="Prompt tokens a second of a replica, or a GPU.")
]
Decode = Annotated[
    float, typer.Option(min=0.001, help="Answer tokens a second, all its streams together.")
]

FULL_SIZE = FULL_SIZE_TWO_CORES


def show_need(demand: Demand, speed: Speed, *, as_json: bool) -> None:
    """Print what the demand needs."""
    need = need_of(demand, speed)
    if as_json:
        typer.echo(json.dumps({**asdict(need), "speed": asdict(speed), "demand": asdict(demand)}))
        return
    for line in _lines(demand, speed, need):
        typer.echo(line)


def _lines(demand: Demand, speed: Speed, need: Need) -> list[str]:
    return [
        f"{demand.prompt_tokens:g} prompt tokens at {speed.prefill:g}/s and "
        f"{demand.output_tokens:g} answer tokens at {speed.decode:g}/s: {need.engine_s:.2f} s of a "
        "replica.",
        f"With {demand.hit_share:.0%} from the cache: {need.mean_s * 1000:.1f} ms a request. At "
        f"{BUSY_SHARE:.0%} busy a replica answers {need.requests_per_s:.2g} requests a second.",
        f"{demand.requests_per_s:g} requests a second need {need.replicas} "
        f"replica{'s' if need.replicas > 1 else ''}.",
    ]
