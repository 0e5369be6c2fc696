"""Our service, heard of in turns by nobody, by one listener and by all; notes the CPU of each turn.

`loadtests.observability` starts it. Turns take place in one process, because two processes of the
same service differ by more than listeners cost: in where things lie, and in the seed of hashes.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from phi3_bento.call import Call, Exchange  # found by the line above
from phi3_bento.record import RequestRecord
from phi3_bento.usage import reporter
from phi3_bento.usage.reporter import Reporter
from phi3_bento.usage.request_log import RequestLog
from phi3_bento.usage.tally import Tally
from phi3_bento.usage.trace import Tracing

DIRECTORY = Path(os.environ["WATCHED_DIRECTORY"])
"""The turns begin when there is a file `go` in it; the file `turns.json` says what they took."""

CYCLES, TURN_S = int(os.environ["WATCHED_CYCLES"]), float(os.environ["WATCHED_TURN_S"])
MAX_NOTES = reporter.MAX_NOTES


@dataclass
class State:
    """Of this process."""

    requests: int = 0
    """That have ended so far."""
    announces: bool = True
    """A response says which trace it belongs to, which is a part of what traces cost."""


STATE = State()


@dataclass(frozen=True)
class Turn:
    """Who hears of requests for a while."""

    name: str
    kinds: tuple[type, ...] = ()
    share: float = 0.01
    """Of traces."""


_ALL = (Tally, RequestLog, Tracing)
TURNS = [
    Turn("off"),
    Turn("metrics", (Tally,)),
    Turn("log", (RequestLog,)),
    Turn("traces", (Tracing,)),
    Turn("on", _ALL),
    Turn("all", _ALL, 1.0),
    Turn("off again"),
]
if os.environ["WATCHED_PARTS"] != "True":
    TURNS = [turn for turn in TURNS if turn.name in ("off", "on", "off again")]

_note, _announce = Reporter.note, Tracing.announce


def counted_note(self: Reporter, what: RequestRecord | Exchange) -> None:
    """Counts requests beside what it does."""
    STATE.requests += isinstance(what, Exchange)
    _note(self, what)


def announce_in_its_turn(self: Tracing, call: Call) -> None:
    """As it does, or not at all."""
    if STATE.announces:
        _announce(self, call)


Reporter.note, Tracing.announce = counted_note, announce_in_its_turn  # type: ignore[method-assign]

from service import Phi3Service, application  # noqa: E402  # what is above is for it

LISTENERS = list(application.reporter.listeners)
TRACING = next(each for each in LISTENERS if isinstance(each, Tracing))


def take_turn(turn: Turn) -> float:
    """CPU for a request in it, microseconds; what is left to tell is told in it."""
    STATE.announces, TRACING._share = Tracing in turn.kinds, turn.share
    application.reporter.listeners[:] = [each for each in LISTENERS if type(each) in turn.kinds]
    reporter.MAX_NOTES = MAX_NOTES if turn.kinds else 0
    before, cpu_s = STATE.requests, time.process_time()
    time.sleep(TURN_S)
    application.reporter.flush()
    TRACING._processor.force_flush()
    return (time.process_time() - cpu_s) * 1e6 / (STATE.requests - before)


def take_turns() -> None:
    """Wait until there is load, then note what each turn took, cycle by cycle."""
    while not (DIRECTORY / "go").exists():
        time.sleep(0.05)
    cycles = []
    for number in range(CYCLES):
        order = TURNS if number % 2 else reversed(TURNS)
        cycles.append({turn.name: take_turn(turn) for turn in order})
    made = DIRECTORY / "turns.tmp"
    made.write_text(json.dumps(cycles))
    made.rename(DIRECTORY / "turns.json")


threading.Thread(target=take_turns, daemon=True).start()

__all__ = ["Phi3Service"]
