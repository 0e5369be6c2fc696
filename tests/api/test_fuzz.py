"""Whatever is sent, the service answers it or refuses it in OpenAI's form, and never fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, Case, GenerationMode

from tests.fuzzing import ANSWER_LIMIT_S, FACTOR, FUZZING, Fuzzer, Reply, fuzzer
from tests.hostile import CHAT, COMPLETION, PATHS, Attack, attacks, walks
from tests.support import Service, bentoml_command, running

INPUTS = 10_000 * FACTOR
"""What the tests of this file send at least, together."""

BODIES = {
    CHAT: 3500,
    COMPLETION: 2000,
    "/tokenize": 1200,
    "/detokenize": 800,
    "/generate": 500,
    "/generate_stream": 500,
    "/classify": 500,
}
CASES_OF_SCHEMA = 150
"""For each operation of the service's own schemas."""

Operation = APIOperation[Any, Any, Any, Any]

KEY = "a-key-of-sixteen-characters"
EARLY = {"x-slo-ttft-ms", "x-priority"}
OTHER_PATHS = (
    *("/", "/v1", "/v1/models", "/v1/models/phi3-echo", "/v1/health/ready", "/livez", "/readyz"),
    *("/metrics", "/schema.json", "/docs.json", "/openapi.json", "/admin/usage", "/admin", "/x"),
    *("/static_content/index.css", "/health", "/version", "/generate/submit", "/classify/status"),
)


@pytest.fixture(scope="module")
def echo_fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    """Over a service of its own: other tests count what theirs was asked."""
    directory = tmp_path_factory.mktemp("fuzzed")
    command, env = bentoml_command(), {"PHI3_ENGINE": "echo"}
    with running(command, directory, env) as service, fuzzer(service) as attacker:
        yield attacker


@pytest.mark.parametrize("path", PATHS)
def test_no_body_makes_the_service_fail(echo_fuzzer: Fuzzer, path: str) -> None:
    @settings(FUZZING, max_examples=BODIES[path] * FACTOR)
    @given(attack=attacks(path))
    def fuzz(attack: Attack) -> None:
        echo_fuzzer.send(attack)

    fuzz()


def test_no_path_and_no_method_makes_the_service_fail(echo_fuzzer: Fuzzer) -> None:
    @settings(FUZZING, max_examples=1000 * FACTOR)
    @given(attack=walks((*PATHS, *OTHER_PATHS)))
    def fuzz(attack: Attack) -> None:
        echo_fuzzer.send(attack)

    fuzz()


@pytest.mark.parametrize("document", ["/openapi.json", "/docs.json"])
def test_nothing_made_from_its_own_schema_makes_the_service_fail(
    echo_fuzzer: Fuzzer, document: str
) -> None:
    with requests.Session() as session:
        for operation in operations(echo_fuzzer.service, document):
            fuzz_operation(echo_fuzzer, operation, session)


def fuzz_operation(fuzzer: Fuzzer, operation: Operation, session: requests.Session) -> None:
    @settings(FUZZING, max_examples=CASES_OF_SCHEMA * FACTOR)
    @given(case=cases(operation))
    def fuzz(case: Case) -> None:
        fuzzer.judge(repr(case), lambda: ask(case, fuzzer.service, session))

    fuzz()


def operations(service: Service, document: str) -> list[Operation]:
    schema = schemathesis.openapi.from_dict(service.get(document).json())
    return [result.ok() for result in schema.get_all_operations()]


def cases(operation: Operation) -> SearchStrategy[Case]:
    """Requests that follow the schema, and, where it says anything, ones that do not."""
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(GenerationMode.NEGATIVE)
    return st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))


def ask(case: Case, service: Service, session: requests.Session) -> Reply:
    answer = case.call(base_url=service.url, session=session, timeout=ANSWER_LIMIT_S)
    kind = answer.headers.get("content-type", [""])[0]
    return Reply(case.path, answer.status_code, kind, answer.content)


def test_the_service_has_met_enough_and_is_as_well_as_before(echo_fuzzer: Fuzzer) -> None:
    """Runs last: it judges what the tests above have done."""
    assert echo_fuzzer.tried >= INPUTS
    assert echo_fuzzer.statuses[200] > INPUTS // 10, "what is refused at once tests little"
    assert echo_fuzzer.streams > 300
    assert echo_fuzzer.service.is_ready()
    assert echo_fuzzer.tracebacks() == 0


def test_with_a_key_nothing_makes_the_service_fail(tmp_path: Path) -> None:
    env = {"PHI3_ENGINE": "echo", "PHI3_API_KEY": KEY}
    with (
        running(bentoml_command(), tmp_path, env) as service,
        fuzzer(service, KEY) as owner,
        fuzzer(service) as stranger,
    ):

        @settings(FUZZING, max_examples=400 * FACTOR)
        @given(attack=st.one_of(*map(attacks, PATHS)))
        def fuzz(attack: Attack) -> None:
            owner.send(attack)
            # A bad deadline or priority is refused before anybody asks who names it.
            refusals = {401, 429} | ({400} if EARLY & set(attack.headers) else set())
            assert stranger.send(attack) in refusals, attack

        fuzz()
        assert owner.statuses[200] > 40
