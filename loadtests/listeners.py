"""What each listener of the `Reporter` takes of a cache hit's time, in microseconds of CPU.

    python -m loadtests.listeners

`hear` is in the request's own time, `tell` in the thread's. The least of many rounds, with all of
it in the processor's caches: in a running service it is more (`loadtests.observability`).
"""

import argparse
import io
from collections.abc import Callable
from time import process_time

from prometheus_client import CollectorRegistry

from phi3_bento.usage.log import Mask
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.reporter import Listener
from phi3_bento.usage.request_log import RequestLog
from phi3_bento.usage.tally import Tally
from phi3_bento.usage.trace import Tracing
from tests.unit.usage.records import exchange, hit

_NOBODY = "http://127.0.0.1:9"


def least_us(call: Callable[[], object], rounds: int) -> float:
    """The least CPU that `call` took."""
    times = []
    for _ in range(rounds):
        began_at = process_time()
        call()
        times.append(process_time() - began_at)
    return min(times) * 1e6


def measure(listener: Listener, hits: int, rounds: int) -> tuple[float, float]:
    """To hear of a hit, and to tell of it among `hits`."""
    notes = [
        note
        for made in (exchange(hit()) for _ in range(hits))
        for note in (*made.call.records, made)
    ]

    def hear() -> None:
        for note in notes:
            listener.hear(note)

    def hear_and_tell() -> None:
        hear()
        listener.take()()

    heard = least_us(hear, rounds)
    listener.take()
    return heard / hits, (least_us(hear_and_tell, rounds) - heard) / hits


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hits", type=int, default=400, help="told at a time")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    log, mask = io.StringIO(), Mask(["a secret of this service"])
    listeners: dict[str, Listener] = {
        "metrics": Tally(Metrics(CollectorRegistry())),
        "log": RequestLog(lambda lines: log.write(mask(lines)), "json"),
        "traces, none kept": Tracing(_NOBODY, share=0.0),
    }
    print("| | hear, µs | tell, µs |\n| --- | --- | --- |")
    for name, listener in listeners.items():
        heard, told = measure(listener, options.hits, options.rounds)
        print(f"| {name} | {heard:.1f} | {told:.1f} |")


if __name__ == "__main__":
    main()
