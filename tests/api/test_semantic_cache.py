"""The semantic tier through HTTP, with real embeddings: who asks for it, what it never does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_cache_admin import Guarded, guarded, run
from tests.support import wait_for

ASKED = "How do I reset my password?"
SAME = "How can I reset my password?"
OPPOSITE = "How do I delete my password?"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(
        tmp_path_factory.mktemp("semantic"), semantic_cache=True, semantic_audit_share=1.0
    ) as made:
        yield made


def body(question: str, **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"messages": messages, "temperature": 0, "max_tokens": 50, **options}


def chat(service: Guarded, who: str, request: dict[str, Any], switch: str = "on") -> httpx.Response:
    headers = {"x-semantic-cache": switch} if switch else {}
    response = service.ask("POST", "/v1/chat/completions", who, json=request, headers=headers)
    assert response.status_code == 200, response.text
    return response


def noted(service: Guarded, questions: int) -> None:
    """Wait until the questions are in the vector database."""

    def count() -> int:
        path = service.server.application.settings.data_dir / "vectors.db"
        with closing(sqlite3.connect(path)) as connection:
            return len(connection.execute("SELECT id FROM entries").fetchall())

    wait_for(lambda: count() >= questions, "the question is noted")


def is_semantic(response: httpx.Response) -> bool:
    return "detail=semantic" in response.headers["cache-status"]


def test_a_question_that_means_the_same_gets_the_kept_answer(service: Guarded) -> None:
    kept = chat(service, "acme", body(ASKED))
    assert kept.headers["cache-status"] == "phi3; fwd=miss; stored"
    noted(service, 1)
    hit = chat(service, "acme", body(SAME))
    assert is_semantic(hit)
    assert hit.json()["choices"] == kept.json()["choices"]
    assert hit.json()["id"] != kept.json()["id"]
    assert "semantic;dur=" in hit.headers["server-timing"]
    streamed = chat(service, "acme", body(SAME, stream=True))
    assert is_semantic(streamed)
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("who", "request_", "switch"),
    [
        ("globex", body(SAME), "on"),
        ("acme", body(SAME), ""),
        ("acme", body(SAME), "off"),
        ("acme", body(OPPOSITE), "on"),
        ("acme", body(SAME, max_tokens=49), "on"),
        ("acme", body(SAME, seed=3), "on"),
        ("acme", body(SAME, messages=[{"role": "system", "content": "Be rude."}]), "on"),
    ],
    ids=["another tenant", "not asked", "declined", "opposite", "length", "seed", "system"],
)
def test_nobody_else_and_nothing_else_gets_it(
    service: Guarded, who: str, request_: dict[str, Any], switch: str
) -> None:
    chat(service, "acme", body(ASKED))
    noted(service, 1)
    request_["messages"] = [
        *request_["messages"],
        *([] if request_["messages"][-1]["role"] == "user" else body(SAME)["messages"]),
    ]
    assert not is_semantic(chat(service, who, request_, switch))


def test_a_key_can_ask_for_it_always_and_a_request_can_decline(tmp_path: Path) -> None:
    with guarded(tmp_path, semantic_cache=True) as service:
        create = ("keys", "create", "--tenant", "acme", "--semantic-cache")
        service.keys["lenient"] = run(tmp_path, *create)
        assert '"semantic_cache": true' in run(tmp_path, "keys", "list", "--json")
        chat(service, "lenient", body(ASKED), "")
        noted(service, 1)
        assert not is_semantic(chat(service, "lenient", body(SAME, max_tokens=9), "off"))
        assert is_semantic(chat(service, "lenient", body(SAME), ""))


def test_what_is_cleared_is_not_found_again(tmp_path: Path) -> None:
    with guarded(tmp_path, semantic_cache=True) as service:
        chat(service, "acme", body(ASKED))
        noted(service, 1)
        service.ask("DELETE", "/admin/cache?tenant=acme", "admin").raise_for_status()
        assert not is_semantic(chat(service, "acme", body(SAME)))


def test_another_value_of_the_switch_is_refused(service: Guarded) -> None:
    headers = {"x-semantic-cache": "yes"}
    response = service.ask(
        "POST", "/v1/chat/completions", "acme", json=body(ASKED), headers=headers
    )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-semantic-cache"


def test_the_operator_is_told_why(service: Guarded) -> None:
    chat(service, "acme", body(ASKED))
    noted(service, 1)

    def explain(question: str) -> dict[str, Any]:
        asked = {"body": body(question), "tenant": "acme", "semantic_cache": True}
        response = service.ask("POST", "/admin/cache/explain", "admin", json=asked)
        told: dict[str, Any] = response.json()
        return told

    hit = explain("How could I reset my password?")
    assert (hit["decision"], hit["semantic"]["twins"]) == ("hit", 1)
    miss = explain("How do I encrypt my password?")
    assert miss["decision"] == "miss"
    assert miss["semantic"]["nearest"] > 0.5
    assert miss["semantic"]["refused_by"] is not None


def test_the_idle_engine_answers_samples_anew_and_counts_false_ones(tmp_path: Path) -> None:
    """The echo engine answers with the question: to another wording it says another thing."""
    with guarded(tmp_path, semantic_cache=True, semantic_audit_share=1.0) as service:

        def told() -> dict[str, Any]:
            statistics = service.ask("GET", "/admin/cache", "admin").json()
            semantic: dict[str, Any] = statistics["semantic"]
            return semantic

        threshold = told()["threshold"]
        short = "Reset password"
        chat(service, "acme", body(short, max_tokens=3))
        noted(service, 1)
        assert is_semantic(chat(service, "acme", body("Reset passwords", max_tokens=3)))
        wait_for(lambda: told()["threshold"] > threshold, "the threshold rises")
        assert told()["audited"] == 0
        assert service.server.metric("phi3_cache_semantic_audits_total", result="false") >= 1


def test_a_row_that_was_changed_is_never_an_answer(tmp_path: Path) -> None:
    with guarded(tmp_path, semantic_cache=True) as service:
        chat(service, "acme", body(ASKED))
        noted(service, 1)
        with closing(sqlite3.connect(tmp_path / "vectors.db")) as connection, connection:
            connection.execute("UPDATE entries SET sealed = zeroblob(1700)")
        assert not is_semantic(chat(service, "acme", body(SAME)))
        assert service.server.metric("phi3_cache_alerts_total", reason="tampered") == 1
