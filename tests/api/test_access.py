"""Every route, tried with every kind of key, over a real `bentoml serve` on the echo engine."""

import concurrent.futures
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import bentoml
import httpx
import openai
import pytest

from phi3_bento.admission.doorkeeper import OPEN_PATHS
from tests.support import REPOSITORY, Service, bentoml_command, running

REVOKED_WITHIN_S = 5
UNDOCUMENTED = {"/openapi.json", "/docs.json", "/schema.json", "/metrics", "/v1/nothing", "/x"}
BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "one two"}]},
    "/v1/completions": {"prompt": "one two"},
    "/tokenize": {"prompt": "one"},
    "/detokenize": {"tokens": [104, 105]},
    "/generate": {"prompt": "one two"},
    "/generate_stream": {"prompt": "one two"},
    "/classify": {"items": [{"text": "one", "labels": ["a", "b"]}]},
    "/admin/cache/explain": {"body": {"messages": [{"role": "user", "content": "one"}]}},
}
PARAMETERS = {("DELETE", "/admin/cache"): {"tenant": "nobody"}}


@dataclass
class Guarded:
    """A service with keys, and those keys."""

    service: Service
    keys: dict[str, str]

    def ask(self, method: str, path: str, key: str | None) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = BODIES.get(path) if method == "POST" else None
        parameters = PARAMETERS.get((method, path))
        url = self.service.url + path
        return httpx.request(method, url, params=parameters, headers=headers, json=body)

    def keys_command(self, *arguments: str) -> str:
        return run_keys(self.service, *arguments)


def run_keys(service: Service, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """`phi3-bento keys …` on the service's database."""
    command = [sys.executable, "-m", "phi3_bento", "keys", *arguments]
    variables = {"PHI3_DATA_DIR": str(service.data_dir), "PATH": "/usr/bin:/bin", **(env or {})}
    done = subprocess.run(
        command, env=variables, cwd=REPOSITORY, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    with running(bentoml_command(), directory, {"PHI3_ENGINE": "echo"}) as service:
        create = ("create", "--tenant", "acme")
        keys = {
            "inference": run_keys(service, *create),
            "metrics": run_keys(service, *create, "--scope", "metrics"),
            "admin": run_keys(service, *create, "--scope", "admin"),
            "revoked": run_keys(service, *create),
            "other_model": run_keys(service, *create, "--model", "another"),
            "limited": run_keys(service, *create, "--requests-per-minute", "3"),
        }
        run_keys(service, "revoke", keys["revoked"].split("_")[1])
        keys["expired"] = run_keys(
            service, "rotate", keys["metrics"].split("_")[1], "--grace", "0m"
        )
        keys["expired"], keys["metrics"] = keys["metrics"], keys["expired"]
        time.sleep(REVOKED_WITHIN_S)
        yield Guarded(service, keys)


def documented(guarded: Guarded) -> set[tuple[str, str]]:
    """Method and path of every route in the schemas of both halves of the service."""
    routes = {("GET", path) for path in UNDOCUMENTED}
    for schema in ("/openapi.json", "/docs.json"):
        response = guarded.ask("GET", schema, guarded.keys["inference"])
        for path, methods in response.json()["paths"].items():
            plain = path.replace("{model}", "phi3-echo").replace("{path}", "nothing")
            routes |= {(method.upper(), plain) for method in methods}
    return routes


def needed_scope(path: str) -> str:
    if path == "/metrics":
        return "metrics"
    return "admin" if path.startswith("/admin") else "inference"


def test_every_route_refuses_every_kind_of_key_but_the_right_one(guarded: Guarded) -> None:
    routes = documented(guarded)
    assert {path for _, path in routes} > set(BODIES) | {"/admin/usage", "/v1/models"}
    assert set(PARAMETERS) < routes
    wrong = guarded.keys["inference"][:-1] + ("a" if guarded.keys["inference"][-1] != "a" else "b")
    refused = {None: 401, wrong: 401, "p3_unknown000_x": 401, "sk-1": 401}
    refused |= {guarded.keys["revoked"]: 401, guarded.keys["expired"]: 401}
    tried = 0
    for method, path in sorted(routes):
        if path in OPEN_PATHS:
            assert guarded.ask(method, path, None).status_code == 200, path
            continue
        scopes = {"inference", "metrics", "admin"} - {needed_scope(path)}
        expected = {guarded.keys[scope]: 403 for scope in scopes}
        for key, status in (refused | expected).items():
            if status == 401:
                tried += 1
            answer = guarded.ask(method, path, key)
            # This address guesses a lot: after thirty wrong keys it hears 429 instead.
            assert answer.status_code in {status, 429 if status == 401 else status}, (path, key)
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        good = guarded.ask(method, path, guarded.keys[needed_scope(path)])
        assert good.status_code in {200, 404}, (path, good.text)
    assert tried > 60


def test_a_key_for_another_model_may_not_ask_this_one(guarded: Guarded) -> None:
    answer = guarded.ask("POST", "/v1/chat/completions", guarded.keys["other_model"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


def test_openai_s_client_reads_the_limits_and_the_refusal(guarded: Guarded) -> None:
    client = openai.OpenAI(
        api_key=guarded.keys["limited"], base_url=f"{guarded.service.url}/v1", max_retries=0
    )
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "one"}
    ]
    for left in (2, 1, 0):
        raw = client.chat.completions.with_raw_response.create(model="phi3-echo", messages=messages)
        assert raw.headers["x-ratelimit-remaining-requests"] == str(left)
        assert raw.headers["x-ratelimit-limit-requests"] == "3"
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="phi3-echo", messages=messages)
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    batch = guarded.ask("POST", "/classify", guarded.keys["limited"])
    assert (batch.status_code, batch.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_bentoml_s_client_sends_its_key(guarded: Guarded) -> None:
    with bentoml.SyncHTTPClient(guarded.service.url, token=guarded.keys["inference"]) as client:
        assert client.generate(prompt="one two")["text"] == "one two"
        (decision,) = client.classify(items=[{"text": "one", "labels": ["a", "b"]}])
        assert decision["label"] == "a"


def test_a_revocation_acts_within_seconds(guarded: Guarded) -> None:
    key = guarded.keys_command("create", "--tenant", "acme")
    assert guarded.ask("GET", "/v1/models", key).status_code == 200
    guarded.keys_command("revoke", key.split("_")[1])
    deadline = time.monotonic() + REVOKED_WITHIN_S
    while guarded.ask("GET", "/v1/models", key).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_usage_is_told_by_key_and_by_tenant_to_an_admin(guarded: Guarded) -> None:
    key = guarded.keys_command("create", "--tenant", "usage-test")
    guarded.ask("POST", "/v1/chat/completions", key)
    guarded.ask("POST", "/classify", key)
    told = guarded.ask("GET", "/admin/usage?by=tenant&tenant=usage-test", guarded.keys["admin"])
    (row,) = told.json()["data"]
    assert (row["name"], row["requests"], row["failed"]) == ("usage-test", 2, 0)
    assert row["completion_tokens"] == 3
    command = [sys.executable, "-m", "phi3_bento", "usage", "--json", "--tenant", "usage-test"]
    env = {"PHI3_DATA_DIR": str(guarded.service.data_dir), "PATH": "/usr/bin:/bin"}
    printed = subprocess.check_output(command, env=env, cwd=REPOSITORY, text=True)
    (by_key,) = json.loads(printed)
    assert by_key | {"name": "usage-test"} == row
    bad = guarded.ask("GET", "/admin/usage?since=yesterday", guarded.keys["admin"])
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "since")
    bad = guarded.ask("GET", "/admin/usage?by=colour", guarded.keys["admin"])
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "by")
    assert ".py" not in bad.text


def test_items_of_one_batch_are_counted_to_their_own_callers(guarded: Guarded) -> None:
    """BentoML merges what comes at the same time; each item keeps whose it is."""
    keys = {name: guarded.keys_command("create", "--tenant", name) for name in ("red", "blue")}
    with httpx.Client(base_url=guarded.service.url) as client:

        def decide(name: str) -> int:
            headers = {"authorization": f"Bearer {keys[name]}"}
            return client.post("/classify", json=BODIES["/classify"], headers=headers).status_code

        names = ["red", "blue", "blue"] * 12
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            assert set(pool.map(decide, names)) == {200}
    for name, count in (("red", 12), ("blue", 24)):
        told = guarded.ask("GET", f"/admin/usage?by=tenant&tenant={name}", guarded.keys["admin"])
        assert told.json()["data"][0]["requests"] == count
