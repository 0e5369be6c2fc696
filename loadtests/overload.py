"""Ten times the load that a service can carry: what is answered before, during and after it.

    python -m loadtests.overload --model synthetic:phi-3-mini --tokens 8

As many clients as the engine has places ask without a pause: what they get is the capacity. Then
requests come at ten times that rate, whatever becomes of those before. The service is in a cgroup
of two CPUs and 8 GiB, where there can be one, and the clients are on the same cores. Exit code 1
where less than 90 % of the capacity is answered meanwhile, or in the seconds after it.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from loadtests.crowds import Answer, crowd
from loadtests.figures import percentile
from loadtests.service import Setup, drop_own_settings, under_load

TIMES = 10
CLIENTS = 32
"""As many as the engine has places."""

_WARM_S = 2.0
_LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Spans:
    """How long each part is, seconds."""

    capacity_s: float
    overload_s: float
    recovery_s: float


@dataclass(frozen=True)
class Overload:
    """What came of it."""

    before: float
    """Answers a second that clients get who wait for theirs."""
    during: float
    after: float
    answers: Sequence[Answer]
    """During the overload, refusals among them."""
    again: Sequence[Answer]

    @property
    def done(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status == 200]

    @property
    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    @property
    def refusal_ms(self) -> float:
        """The 99th percentile of a refusal; 0 of none."""
        return (percentile((answer.seconds for answer in self.refused), 99) or 0.0) * 1000


def completed(answers: Sequence[Answer], began_at: float, seconds: float) -> float:
    """Answers a second that were complete in the `seconds` since `began_at`."""
    ended = (answer.ended_at - began_at for answer in answers if answer.status == 200)
    return sum(at_s <= seconds for at_s in ended) / seconds


async def overload(url: str, tokens: int, spans: Spans) -> Overload:
    """Find the capacity for answers of so many tokens, ask for ten times as many, and look again.

    The recovery begins with the last of the flood, while those who were let in still wait.
    """
    async with crowd(url, words=1, tokens=tokens) as clients:
        await clients.fill(CLIENTS, _WARM_S)
        began_at = monotonic()
        answers = await clients.fill(CLIENTS, spans.capacity_s)
        before = completed(answers, began_at, spans.capacity_s)
        began_at = monotonic()
        answers = await clients.flood(TIMES * before, spans.overload_s)
        during = completed(answers, began_at, spans.overload_s)
        began_at = monotonic()
        again = await clients.fill(CLIENTS, spans.recovery_s)
        after = completed(again, began_at, spans.recovery_s)
    return Overload(before, during, after, answers, again)


def report(found: Overload, spans: Spans) -> int:
    """Print what came of it; the exit code."""
    shares = [each / found.before for each in (found.during, found.after)]
    print("| | answers a second | of the capacity |")
    print("| --- | --- | --- |")
    print(f"| {CLIENTS} clients that wait for theirs | {found.before:.1f} | |")
    print(
        f"| {TIMES} times as many, {spans.overload_s:g} s | {found.during:.1f} | {shares[0]:.0%} |"
    )
    print(f"| {spans.recovery_s:g} s after it | {found.after:.1f} | {shares[1]:.0%} |")
    print(
        f"\n{len(found.answers):,} requests, {len(found.refused):,} refused with "
        f"{sorted({answer.status for answer in found.refused})}, p99 {found.refusal_ms:.0f} ms"
    )
    return int(min(shares) < _LEAST_SHARE)


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phi3-demo")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--capacity-s", type=float, default=40.0)
    parser.add_argument("--overload-s", type=float, default=60.0)
    parser.add_argument("--recovery-s", type=float, default=40.0)
    options = parser.parse_args()
    drop_own_settings()
    spans = Spans(options.capacity_s, options.overload_s, options.recovery_s)
    with under_load(Setup(options.model, "vllm", {}, tenants={}, cgroup=True)) as target:
        print(f"{options.model}, answers of {options.tokens} tokens, {target.place}\n")
        found = asyncio.run(overload(target.service.url, options.tokens, spans))
    return report(found, spans)


if __name__ == "__main__":
    sys.exit(main())
