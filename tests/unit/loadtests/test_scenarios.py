"""What each scenario sends, and what it makes of the answers."""

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from loadtests.figures import figures_of
from loadtests.prompts import SYSTEM_PROMPT
from loadtests.records import Record
from loadtests.scenario import Load, Shot
from loadtests.scenarios import SCENARIOS
from loadtests.scenarios.burst import AGAIN, BOUND, DEADLINE_MS, FREE, SIZE
from loadtests.scenarios.limits import TENANTS, fair_share
from phi3_bento.caller import Quota
from tests.unit.loadtests.samples import answered, refused

each_scenario = pytest.mark.parametrize("name", sorted(SCENARIOS))
MEASURED_ELSEWHERE = {"memory_growth_ratio"}


def shots(name: str, seconds: float = 120, seed: int = 0) -> list[Shot]:
    scenario = SCENARIOS[name]
    return list(scenario.shots(Load(scenario.rate, seconds, seed)))


def text(shot: Shot) -> str:
    return json.dumps(shot.body)


@each_scenario
def test_requests_are_in_order_and_within_the_time(name: str) -> None:
    sent = shots(name)
    assert all(0 <= a.at_s <= b.at_s < 120 for a, b in pairwise(sent))
    assert len(sent) == pytest.approx(SCENARIOS[name].rate * 120, rel=0.25)


@each_scenario
def test_every_request_has_a_tenant_with_a_key(name: str) -> None:
    scenario = SCENARIOS[name]
    sent = [*shots(name), *scenario.warm(Load(1, 1))]
    assert {shot.tenant for shot in sent} <= scenario.tenants.keys()


@each_scenario
def test_the_same_seed_sends_the_same(name: str) -> None:
    assert shots(name, 30) == shots(name, 30)


@each_scenario
def test_every_threshold_is_about_a_figure_that_is_measured(name: str) -> None:
    scenario, load = SCENARIOS[name], Load(SCENARIOS[name].rate, 120)
    records = [
        answered(name=s.name, intended_s=s.at_s, first_ms=1.0, gaps_ms=(1.0,), cache="miss")
        for s in scenario.shots(load)
    ]
    measured = figures_of(records, 120) | scenario.figures(records, load)
    wanted = {threshold.figure for threshold in scenario.thresholds}
    assert wanted <= measured.keys() | MEASURED_ELSEWHERE


@pytest.mark.parametrize("name", ["decision", "chat", "burst"])
def test_what_is_meant_to_be_unique_is_sent_once_in_all_runs_and_warm_ups(name: str) -> None:
    warmed = [text(shot) for seed in (0, 1) for shot in SCENARIOS[name].warm(Load(1, 1, seed))]
    sent = [text(shot) for seed in (0, 1) for shot in shots(name, seed=seed)]
    assert not Counter(warmed + sent).most_common(1)[0][1] > 1


def test_decisions_come_both_ways_after_one_system_prompt() -> None:
    sent = shots("decision")
    assert {shot.name for shot in sent} == {"one-token chat", "classify"}
    for shot in sent:
        if shot.name == "classify":
            assert shot.body["items"][0]["instruction"] == SYSTEM_PROMPT
        else:
            assert shot.body["messages"][0]["content"] == SYSTEM_PROMPT
            assert shot.body["max_tokens"] == 1


def test_normal_load_asks_again_what_was_warmed_but_for_one_in_twenty() -> None:
    warmed = {text(shot) for shot in SCENARIOS["normal"].warm(Load(1, 1))}
    assert len(warmed) == 2000
    sent = shots("normal")
    new = [shot for shot in sent if text(shot) not in warmed]
    assert len(new) == len(sent) // 20
    assert {shot.name for shot in new} == {"new"}


def test_chats_are_streamed_and_nothing_of_them_can_be_kept() -> None:
    assert all(shot.is_streamed and shot.body["temperature"] > 0 for shot in shots("chat"))


def test_a_hundred_start_at_once_and_every_second_volley_has_a_deadline() -> None:
    volleys: dict[float, list[Shot]] = defaultdict(list)
    for shot in shots("burst"):
        volleys[shot.at_s].append(shot)
    assert [len(volley) for volley in volleys.values()] == [SIZE] * 4
    deadlines = [volley[0].headers.get("x-slo-ttft-ms") for volley in volleys.values()]
    assert deadlines == [None, str(DEADLINE_MS)] * 2
    assert sum(shot.comes_back for shot in shots("burst")) == 20


def burst_figures(records: list[Record]) -> dict[str, float]:
    return SCENARIOS["burst"].figures(records, Load(1, 1))


def test_goodput_is_what_was_in_time_beside_what_could_have_been() -> None:
    free = [answered(name=FREE, latency_ms=100.0 * place) for place in range(100)]
    bound = [answered(name=BOUND, intended_s=30, latency_ms=100.0 * p) for p in range(28)]
    rest = [refused(name=BOUND, intended_s=30) for _ in range(72)]
    figures = burst_figures([*free, *bound, *rest])
    assert figures["goodput_ratio"] == pytest.approx(28 / 31)
    assert figures["late_ratio"] == 0


def test_an_accepted_request_that_missed_its_deadline_is_late_and_no_goodput() -> None:
    free = [answered(name=FREE) for _ in range(10)]
    bound = [answered(name=BOUND, latency_ms=ms) for ms in (10.0, DEADLINE_MS + 1.0)]
    figures = burst_figures([*free, *bound])
    assert figures["late_ratio"] == 0.5
    assert figures["goodput_ratio"] == 0.1


def test_a_refusal_is_truthful_when_who_came_back_as_told_is_let_in() -> None:
    again = [answered(name=BOUND + AGAIN), refused(name=BOUND + AGAIN)]
    figures = burst_figures([refused(name=BOUND), refused(name=BOUND, retry_after_ms=None), *again])
    assert figures["true_retry_ratio"] == 0.5
    assert figures["untold_refusals"] == 1


def per_second(count: int, accepted: int) -> list[Record]:
    """`count` requests, one a second, of which the first `accepted` of each minute get in."""
    return [
        answered(intended_s=s) if s % 60 < accepted else refused(intended_s=s)
        for s in map(float, range(count))
    ]


def test_a_fair_share_is_the_quota_of_each_window() -> None:
    assert fair_share(per_second(150, 20), Quota(requests_per_minute=20)) == 60
    assert fair_share(per_second(65, 20), Quota(requests_per_minute=20)) == 25


def test_who_asks_for_less_than_they_may_gets_all_of_it() -> None:
    assert fair_share(per_second(150, 60), Quota(requests_per_minute=200)) == 150
    assert fair_share(per_second(150, 60), Quota()) == 150


def test_tokens_are_shared_by_what_answers_cost() -> None:
    records = [answered(intended_s=float(s), prompt_tokens=20) for s in range(30)]
    assert fair_share(records, Quota(tokens_per_minute=400)) == 400


def limits_figures(accepted: int) -> dict[str, float]:
    """Of tenants who get all they should, but for `small`, whose quota is 20."""
    records = [answered(name=t.name, cache="miss", prompt_tokens=1) for t in TENANTS[1:]]
    small = [
        answered(name="small", intended_s=float(s)) if s < accepted else refused(name="small")
        for s in range(50)
    ]
    return SCENARIOS["limits"].figures([*records, *small], Load(1, 1))


@pytest.mark.parametrize(("accepted", "most", "least"), [(20, 1, 1), (21, 1.05, 1), (10, 1, 0.5)])
def test_more_than_a_share_shows_and_so_does_less(accepted: int, most: float, least: float) -> None:
    figures = limits_figures(accepted)
    assert figures["most_of_share_ratio"] == most
    assert figures["least_of_share_ratio"] == least


def test_the_parts_of_all_tenants_are_the_whole() -> None:
    assert sum(tenant.part for tenant in TENANTS) == pytest.approx(1)
