"""The operator's cache routes, and packs that go from tenant to tenant, with real keys."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from phi3_bento.cli import cli
from tests.support import EchoServer, echo_server, wait_for
from tests.unit.cache.packs import OTHER_CARD, answer_to, body_of, write_pack

CHAT = "/v1/chat/completions"
ADMIN = "/admin/cache"


def run(data_dir: Path, *arguments: str) -> str:
    """`phi3-bento …` on a service's data directory; what it prints."""
    done = CliRunner().invoke(cli, arguments, env={"PHI3_DATA_DIR": str(data_dir)})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout.strip()


@dataclass
class Guarded:
    """A service with keys of several tenants."""

    server: EchoServer
    keys: dict[str, str]

    def ask(self, method: str, path: str, who: str | None, **request: Any) -> httpx.Response:
        headers = request.pop("headers", {})
        if who is not None:
            headers["authorization"] = f"Bearer {self.keys[who]}"
        return httpx.request(method, self.server.url + path, headers=headers, **request)

    def chat(self, who: str | None, question: str, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", CHAT, who, json=body_of(question), headers=names)

    def status(self, who: str, question: str, **headers: str) -> str:
        return self.chat(who, question, **headers).headers["cache-status"]


@contextmanager
def guarded(data_dir: Path, **settings: object) -> Iterator[Guarded]:
    data_dir.mkdir(exist_ok=True)
    keys = {
        tenant: run(data_dir, "keys", "create", "--tenant", tenant)
        for tenant in ("acme", "globex", "initech")
    }
    keys["admin"] = run(
        data_dir, *("keys", "create", "--tenant", "ops", "--scope", "admin", "--scope", "inference")
    )
    with echo_server(data_dir, **settings) as server:
        yield Guarded(server, keys)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path) as made:
        yield made


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def test_only_an_admin_may_look_clear_or_explain(service: Guarded) -> None:
    explain = {"json": {"body": body_of("a")}}
    for method, path, request in (
        ("GET", ADMIN, {}),
        ("DELETE", f"{ADMIN}?all=true", {}),
        ("POST", f"{ADMIN}/explain", explain),
    ):
        assert service.ask(method, path, None, **request).status_code == 401
        assert service.ask(method, path, "acme", **request).status_code == 403
        assert service.ask(method, path, "admin", **request).status_code == 200


def test_the_statistics_say_what_is_kept_and_what_for(service: Guarded) -> None:
    for _ in range(3):
        service.chat("acme", "one two")
    service.chat("globex", "one two")
    told = service.ask("GET", ADMIN, "admin").json()
    assert told["hits"] == {"memory": 2, "store": 0, "warm": 0, "semantic": 0}
    assert (told["misses"], told["collapsed"], told["alerts"]) == (2, 0, {})
    assert told["memory"]["entries"] == 2
    assert told["memory"]["cap_bytes"] == 32 * 2**20
    assert told["on"] is True

    def stored() -> bool:
        return bool(service.ask("GET", ADMIN, "admin").json()["store"]["entries"] == 2)

    wait_for(stored, "both answers are in the store")


def test_a_tenant_s_answers_are_cleared_whole_and_alone(service: Guarded, tmp_path: Path) -> None:
    for question in ("one", "two"):
        for tenant in ("acme", "globex"):
            service.chat(tenant, question)
    cleared = service.ask("DELETE", f"{ADMIN}?tenant=acme", "admin")
    assert cleared.json() == {"cleared": 2}
    for question in ("one", "two"):
        only = {"cache_control": "only-if-cached"}
        assert service.chat("acme", question, **only).status_code == 504
        assert service.status("globex", question, **only).startswith("phi3; hit")
    assert service.ask("DELETE", f"{ADMIN}?all=true", "admin").json() == {"cleared": 2}
    assert service.chat("globex", "one", cache_control="only-if-cached").status_code == 504
    exported = run(tmp_path, *("cache", "export", str(tmp_path / "pack"), "--tenant", "globex"))
    assert "has 0 answers" in exported


@pytest.mark.parametrize("query", ["", "?all=false", "?tenant=acme&all=true", "?tenant=", "?all=x"])
def test_what_to_clear_must_be_said_once(service: Guarded, query: str) -> None:
    service.chat("acme", "one")
    answer = service.ask("DELETE", ADMIN + query, "admin")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert service.status("acme", "one").startswith("phi3; hit")


def test_a_request_is_explained_for_any_tenant(service: Guarded) -> None:
    def explain(**question: Any) -> dict[str, Any]:
        question = {"body": body_of("one two"), **question}
        answer = service.ask("POST", f"{ADMIN}/explain", "admin", json=question)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    assert explain(tenant="acme")["decision"] == "miss"
    service.server.engine.enqueue("only acme may read this")
    service.chat("acme", "one two")
    hit = explain(tenant="acme", path=CHAT)
    assert (hit["decision"], hit["kept"][0]["in"]) == ("hit", "memory")
    assert "only acme may read this" not in json.dumps(hit)
    assert explain()["decision"] == explain(tenant="globex")["decision"] == "miss"
    assert explain(tenant="acme", cache_control="no-cache")["decision"] == "miss"
    assert explain(tenant="acme", cache_control="no-store")["decision"] == "bypass"
    completion = {"path": "/v1/completions", "body": {"prompt": "x", "temperature": 0}}
    assert explain(**completion)["identity"]["operation"] == "completion"
    assert explain(path="/tokenize", body={"prompt": "x"})["decision"] == "bypass"
    assert service.ask("GET", ADMIN, "admin").json()["hits"]["memory"] == 0


@pytest.mark.parametrize(
    ("question", "param"),
    [
        ({}, "body"),
        ({"body": 1}, "body"),
        ({"body": {}, "path": "/generate"}, "path"),
        ({"body": {}, "extra": 1}, "extra"),
        ({"body": {"messages": "x"}}, "messages"),
        ({"body": body_of("x"), "cache_control": "max-age=x"}, "cache-control"),
        ([], "body"),
    ],
)
def test_a_question_that_cannot_be_explained_is_refused(
    service: Guarded, question: Any, param: str
) -> None:
    answer = service.ask("POST", f"{ADMIN}/explain", "admin", json=question)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_carried_answers_are_given_to_the_tenant_that_they_are_imported_for_alone(
    tmp_path: Path,
) -> None:
    here, there, pack = tmp_path / "here", tmp_path / "there", tmp_path / "pack.jsonl"
    with guarded(here) as service:
        service.server.engine.enqueue("acme's own answer", "another's answer")
        service.chat("acme", "one two")
        service.chat("globex", "three")
    exported = run(here, *("cache", "export", str(pack), "--tenant", "acme", "--json"))
    assert json.loads(exported)["answers"] == 1
    assert b"another's answer" not in pack.read_bytes()
    there.mkdir()
    imported = run(there, *("cache", "import", str(pack), "--tenant", "initech"))
    assert imported.startswith("initech has 1 answers (1 of phi3-echo) more.")
    with guarded(there) as service:
        answer = service.chat("initech", "one two")
        assert answer.headers["cache-status"].startswith("phi3; hit; ttl=")
        assert text_of(answer) == "acme's own answer"
        for tenant in ("acme", "globex", "admin"):
            answer = service.chat(tenant, "one two", cache_control="only-if-cached")
            assert answer.status_code == 504
        assert service.ask("GET", ADMIN, "admin").json()["hits"]["store"] == 1


def test_a_carried_warm_cache_serves_every_tenant_and_nobody_without_a_key(tmp_path: Path) -> None:
    pack = tmp_path / "warm_cache.jsonl"
    write_pack(pack, answer_to("one"), answer_to("two"), answer_to("two", OTHER_CARD))
    with guarded(tmp_path / "service", warm_cache=pack) as service:
        started = service.server.engine.started
        for tenant in ("acme", "globex"):
            for body in (body_of("one"), body_of("one") | {"stream": True}):
                answer = service.ask("POST", CHAT, tenant, json=body)
                ttl = answer.headers["cache-status"]
                assert ttl == "phi3; hit; ttl=86400; detail=warm"
                assert int(answer.headers["age"]) >= 0
                assert "packed" in answer.text
        assert service.chat(None, "one").status_code == 401
        assert service.server.engine.started == started
        told = service.ask("GET", ADMIN, "admin").json()
        assert told["warm"]["entries"] == 2
        assert told["hits"] == {"memory": 0, "store": 0, "warm": 4, "semantic": 0}
        assert told["saved_seconds"] == 6.0
        assert service.server.metric("phi3_cache_hits_total", tier="warm") == 4
        # What a tenant has generated anew is theirs, and stays apart.
        service.chat("acme", "one", cache_control="no-cache")
        assert text_of(service.chat("acme", "one")) == "one"
        assert text_of(service.chat("globex", "one")) == "packed"
        assert service.ask("DELETE", f"{ADMIN}?all=true", "admin").json() == {"cleared": 1}
        assert text_of(service.chat("acme", "one")) == "packed"


@pytest.mark.parametrize(
    ("damage", "memory", "why"),
    [
        (lambda content: content[:-30], "1MiB", "is damaged, and nothing of it is used"),
        (lambda content: content, "1MiB", "needs 0.8 MiB of memory and may take 0.5 MiB"),
    ],
)
def test_a_warm_cache_that_cannot_be_used_stops_the_start(
    tmp_path: Path, damage: Any, memory: str, why: str
) -> None:
    pack = write_pack(tmp_path / "warm_cache.jsonl", answer_to("one", text="x" * 800_000))
    pack.write_bytes(damage(pack.read_bytes()))
    started = threading.Event()
    settings = {"warm_cache": pack, "cache_memory": memory}
    with echo_server(tmp_path / "service", started=started, **settings) as server:
        wait_for(lambda: "warm" in server.application.health().reason, "the start has failed")
        health = server.application.health()
        assert not health.is_ready
        assert not health.is_alive
        assert why in health.reason


def test_an_idle_request_is_answered_and_another_priority_refused(service: Guarded) -> None:
    assert service.chat("acme", "one", x_priority="idle").status_code == 200
    for priority in ("high", "Idle", "", "0"):
        answer = service.chat("acme", "one", x_priority=priority)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-priority")
