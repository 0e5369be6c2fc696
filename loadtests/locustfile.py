"""Plays a scenario with open-loop arrivals: requests start at their time, whatever came before.

    locust -f loadtests/locustfile.py --headless -u 1 --host http://127.0.0.1:11403 \
        --scenario normal --shots-per-s 20 --seconds 30

Locust's users wait for an answer before they ask again, so that a slow server is asked less, and
the waiting of those who would have come meanwhile is never seen. Here one user dispatches every
request in a greenlet of its own at the time drawn for it in advance, and the time that is reported
to locust counts from that moment. `python -m loadtests.run` starts this file; by hand, with
locust's own web page, it plays against a service that runs already.
"""

import gc
import json
import time
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import gevent
import orjson
from gevent.pool import Pool
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, ResponseContextManager

from loadtests.answers import Answer, StreamReader, cache_result, read_answer
from loadtests.records import Record, Run
from loadtests.scenario import Load, Shot
from loadtests.scenarios import SCENARIOS
from loadtests.scenarios.burst import AGAIN

LEAD_S = 0.5
"""Between reading the plan and its first moment."""
NETWORK_TIMEOUT_S = 60.0
DRAIN_LIMIT_S = 90.0
UNFINISHED = "unfinished"
JSON = {"content-type": "application/json"}


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="normal")
    parser.add_argument("--shots-per-s", type=float, help="unset: the scenario's own rate")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", type=Path, help="JSON: an API key for each tenant")
    parser.add_argument("--records", type=Path, help="where the records are written")


class OpenLoopUser(FastHttpUser):
    """The one user: it plays the whole scenario, then ends the run."""

    concurrency = 512
    network_timeout = NETWORK_TIMEOUT_S

    def on_start(self) -> None:
        """Read the plan."""
        _check_is_here(self.host or "")
        options = self.environment.parsed_options
        self.scenario = SCENARIOS[options.scenario]
        rate = options.shots_per_s or self.scenario.rate
        self.load = Load(rate, options.seconds, options.seed)
        keys = json.loads(options.keys.read_text()) if options.keys else {}
        self.headers = {tenant: _with_key(key) for tenant, key in keys.items()}
        self.records: list[Record] = []
        self.outstanding: dict[int, Record] = {}

    @task
    def play(self) -> None:
        """Dispatch every shot at its time, wait for the last answers, tell what happened."""
        greenlets = Pool()
        gc.freeze()
        self.zero = time.perf_counter() + LEAD_S
        began_at, cpu_s = time.time() + LEAD_S, time.process_time()
        for shot in self.scenario.shots(self.load):
            gevent.sleep(max(0.0, self.zero + shot.at_s - time.perf_counter()))
            greenlets.spawn(self._send, shot)
        greenlets.join(timeout=DRAIN_LIMIT_S)
        self._give_up()
        wall_s = time.perf_counter() - self.zero
        run = Run(began_at, wall_s, time.process_time() - cpu_s, self.records)
        if self.environment.parsed_options.records:
            run.write(self.environment.parsed_options.records)
        self.environment.runner.quit()

    def _send(self, shot: Shot) -> None:
        """Send one request and report it; once more, when it was refused and is to come back."""
        due = self.zero + shot.at_s
        record = self._ask(shot, shot.name, due)
        if shot.comes_back and record.is_refused and record.retry_after_ms is not None:
            due = time.perf_counter() + record.retry_after_ms / 1000
            gevent.sleep(max(0.0, due - time.perf_counter()))
            self._ask(shot, shot.name + AGAIN, due)

    def _ask(self, shot: Shot, name: str, due: float) -> Record:
        placeholder = Record(
            name=name,
            intended_s=due - self.zero,
            lag_ms=_ms_since(due),
            latency_ms=0.0,
            status=0,
            outcome=UNFINISHED,
        )
        self.outstanding[id(shot)] = placeholder
        with self.client.post(
            shot.path,
            name=name,
            data=orjson.dumps(shot.body).decode(),
            headers={**self.headers.get(shot.tenant, JSON), **shot.headers},
            stream=shot.is_streamed,
            catch_response=True,
        ) as response:
            record = completed(placeholder, response, due, is_streamed=shot.is_streamed)
            response.request_meta["response_time"] = record.latency_ms
            response.request_meta["context"] = {"record": record}
            response.success() if record.is_ok else response.failure(record.outcome)
        del self.outstanding[id(shot)]
        self.records.append(record)
        return record

    def _give_up(self) -> None:
        """Who has no answer by now counts as an error, with the time that it has waited."""
        now_s = time.perf_counter() - self.zero
        self.records += [
            replace(each, latency_ms=(now_s - each.intended_s) * 1000)
            for each in self.outstanding.values()
        ]


def completed(
    begun: Record, response: ResponseContextManager, due: float, *, is_streamed: bool
) -> Record:
    """The record of an answer, read to its end; times count from `due`."""
    stream = StreamReader()
    if not response.status_code:
        answer = Answer(f"no answer: {type(response.request_meta['exception']).__name__}")
    elif is_streamed and response.status_code == 200:
        answer = _read_stream(response, stream)
    else:
        answer = read_answer(response.status_code, response.content)
    times = stream.token_times
    retry_after_ms = _header(response, "retry-after-ms")
    return replace(
        begun,
        latency_ms=_ms_since(due),
        status=response.status_code,
        outcome=answer.outcome,
        cache=cache_result(_header(response, "cache-status")),
        first_ms=(times[0] - due) * 1000 if times else None,
        gaps_ms=tuple((later - sooner) * 1000 for sooner, later in pairwise(times)),
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        completion_tokens=answer.completion_tokens,
        retry_after_ms=None if retry_after_ms is None else float(retry_after_ms),
    )


def _read_stream(response: ResponseContextManager, stream: StreamReader) -> Answer:
    try:
        # geventhttpclient's read waits for a full buffer; a line is told as soon as it is there.
        while line := response.stream.readline(b"\n"):
            stream.take(line, time.perf_counter())
    except FAILURE_EXCEPTIONS as error:
        return Answer(f"broken stream: {type(error).__name__}")
    return stream.answer()


def _header(response: ResponseContextManager, name: str) -> str | None:
    return str(response.headers[name]) if response.headers and name in response.headers else None


def _ms_since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1000


def _with_key(key: str) -> dict[str, str]:
    return {**JSON, "authorization": f"Bearer {key}"}


def _check_is_here(host: str) -> None:
    """Load goes to this machine alone."""
    name = urlsplit(host).hostname or ""
    if name != "localhost" and not ip_address(name).is_loopback:
        raise SystemExit(f"loadtests: {host} is not this machine; use http://127.0.0.1:PORT.")
