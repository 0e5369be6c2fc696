"""What a service over the real engine tells: vLLM's metrics, one format of logs, its work."""

import json
import re
from collections import Counter
from uuid import uuid4

import httpx
import pytest

from tests.collector import Collector, facts
from tests.support import Service

pytestmark = pytest.mark.engine

PATH = "/v1/chat/completions"


def chat(service: Service, trace: str | None = None, **body: object) -> httpx.Response:
    parent = {} if trace is None else {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    message = {"role": "user", "content": f"Hello! What are you? {uuid4().hex}"}
    body = {"messages": [message], "max_tokens": 8, "temperature": 0, **body}
    return httpx.post(service.url + PATH, json=body, headers=parent, timeout=60)


def test_vllms_families_stand_there_untouched_and_once(service: Service) -> None:
    """Those that vLLM declares when it is imported anew are the same as those that are served."""
    chat(service).raise_for_status()
    text = service.get("/metrics").text
    names = Counter(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []
    served = {name for name in names if name.startswith("vllm:")}
    assert {
        *("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
        *("vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
        *("vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"),
        *("vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds"),
        *("vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds"),
        *("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"),
    } <= served
    assert len(served) > 30
    labels = re.search(r"^vllm:num_requests_running\{(.*)\}", text, re.MULTILINE)
    assert labels is not None
    assert 'engine="0"' in labels[1]
    assert 'model_name="phi3-demo"' in labels[1]


def test_the_engine_says_when_it_waited_read_and_wrote(
    service: Service, collector: Collector
) -> None:
    trace = uuid4().hex
    answer = chat(service, trace, ignore_eos=True)
    names = [each.partition(";")[0] for each in answer.headers["server-timing"].split(", ")]
    assert names == ["auth", "cache", "engine", "queue", "prefill", "decode", "total"]
    spans = collector.wait_for_trace(trace, f"POST {PATH}", "queue", "prefill", "decode")
    queue, prefill, decode = (spans[name] for name in ("queue", "prefill", "decode"))
    root, engine = spans[f"POST {PATH}"], spans["engine"]
    assert root.start_time_unix_nano < queue.start_time_unix_nano
    assert queue.end_time_unix_nano == prefill.start_time_unix_nano
    assert prefill.end_time_unix_nano == decode.start_time_unix_nano
    assert prefill.end_time_unix_nano > prefill.start_time_unix_nano
    assert decode.end_time_unix_nano > decode.start_time_unix_nano
    assert decode.end_time_unix_nano <= root.end_time_unix_nano
    assert {each.parent_span_id for each in (queue, prefill, decode)} == {engine.span_id}
    said = facts(spans["chat phi3-demo"].attributes)
    usage = answer.json()["usage"]
    assert said["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert said["gen_ai.usage.output_tokens"] == usage["completion_tokens"] == 8


def test_a_decision_shows_in_a_trace_too(service: Service, collector: Collector) -> None:
    trace = uuid4().hex
    item = {"text": f"The parcel is late. {uuid4().hex}", "labels": ["billing", "shipping"]}
    response = httpx.post(
        f"{service.url}/classify",
        json={"items": [item]},
        headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
        timeout=60,
    )
    response.raise_for_status()
    spans = collector.wait_for_trace(trace, "POST /classify", "chat phi3-demo", "prefill")
    assert facts(spans["chat phi3-demo"].attributes)["gen_ai.usage.output_tokens"] == 1


def test_all_processes_log_in_one_format(service: Service) -> None:
    """The launcher speaks to whoever started it; all else is JSON, EngineCore's lines too."""
    lines = service.output.read_text().splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    others = [line for line in lines if not line.startswith("{")]
    assert {"bentoml.phi3", "bentoml.serve", "phi3.request"} <= {line["logger"] for line in said}
    vllm = [line for line in said if line["logger"].startswith("vllm")]
    processes = {line["process"] for line in vllm}
    assert service.engine_core().pid in processes
    assert len(processes) == 2
    assert [line for line in others if re.search(r"INFO|WARNING|ERROR|Traceback", line)] == []
