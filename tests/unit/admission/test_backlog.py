"""Work that cannot meet its deadline, or finds the queue full, is refused at once, truthfully."""

import pytest

from phi3_bento.admission.backlog import Backlog, Place, Urgency
from phi3_bento.admission.deadline import Room, SpeedMeter, Work
from phi3_bento.core import TokenCount
from phi3_bento.engine.state import Step
from phi3_bento.errors import Unavailable

STEP_S = 0.1
PREFILL_S = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def backlog(
    clock: Clock, *, sequences: int = 2, max_waiting: int = 2, learnt: bool = True
) -> Backlog:
    meter = SpeedMeter(clock)
    for _ in range(8 if learnt else 0):
        meter.observe(Step(0, 1, STEP_S))
        meter.observe(Step(10, 0, STEP_S + 10 * PREFILL_S))
    room = Room(sequences=sequences, kv_tokens=10_000, chunk_tokens=512)
    return Backlog(room=room, meter=meter, max_waiting=max_waiting, clock=clock)


def enter(
    queue: Backlog,
    prompt: int = 10,
    *,
    priority: int = 0,
    slo_s: float | None = None,
    age_s: float = 0.0,
    is_idle: bool = False,
) -> Place:
    urgency = Urgency(priority=priority, slo_s=slo_s, age_s=age_s, is_idle=is_idle)
    return queue.enter(Work(prompt, 5), urgency, TokenCount())


def test_a_deadline_that_can_be_met_is_let_in_with_its_prediction(clock: Clock) -> None:
    place = enter(backlog(clock), slo_s=0.5)
    assert place.predicted_s == pytest.approx(STEP_S + 10 * PREFILL_S)


def test_a_deadline_that_cannot_be_met_is_refused_with_when_it_could(clock: Clock) -> None:
    queue = backlog(clock)
    enter(queue, 200)
    with pytest.raises(Unavailable, match=r"after about 2645 ms.* allows 500 ms") as caught:
        enter(queue, 10, slo_s=0.5)
    assert caught.value.code == "deadline_unmeetable"
    assert caught.value.retry_after_s == pytest.approx(2.145)
    assert queue.waiting() == 1


def test_a_deadline_counts_from_the_arrival(clock: Clock) -> None:
    assert enter(backlog(clock), slo_s=0.5, age_s=0.2).predicted_s == pytest.approx(0.2)
    with pytest.raises(Unavailable, match=r"after about 580 ms.* allows 500 ms"):
        enter(backlog(clock), slo_s=0.5, age_s=0.35)
    queue = backlog(clock)
    assert enter(queue, slo_s=5, age_s=2).order < enter(queue, slo_s=5).order


def refused_s(queue: Backlog, prompt: int, slo_s: float) -> float:
    """When a request that cannot be in time may come back."""
    with pytest.raises(Unavailable) as caught:
        enter(queue, prompt, slo_s=slo_s)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def test_those_who_are_refused_come_back_one_after_the_other(clock: Clock) -> None:
    queue = backlog(clock)
    enter(queue, 300)
    told = [refused_s(queue, 100, slo_s=2.0) for _ in range(3)]
    assert told == pytest.approx([2.83, 3.83, 4.83])
    clock.now += 1.0
    assert refused_s(queue, 100, slo_s=2.0) == pytest.approx(4.83)
    for _ in range(50):
        last_s = refused_s(queue, 100, slo_s=2.0)
    assert last_s == 30
    clock.now += 60
    assert refused_s(queue, 1000, slo_s=2.0) == pytest.approx(10.006)


def test_without_a_deadline_one_waits(clock: Clock) -> None:
    queue = backlog(clock)
    enter(queue, 500)
    assert enter(queue).predicted_s == pytest.approx(5.3)


def test_before_the_speed_is_known_nobody_is_refused_for_a_deadline(clock: Clock) -> None:
    assert enter(backlog(clock, learnt=False), slo_s=0.001).predicted_s is None


def test_the_queue_is_bounded_and_a_place_that_is_left_is_free(clock: Clock) -> None:
    queue = backlog(clock)
    places = [enter(queue) for _ in range(4)]
    with pytest.raises(Unavailable, match="4 requests") as caught:
        enter(queue)
    assert (caught.value.code, caught.value.retry_after_s is not None) == ("overloaded", True)
    places[0].leave()
    places[0].leave()
    enter(queue)
    with pytest.raises(Unavailable):
        enter(queue)


def test_who_came_during_a_step_waits_for_its_end(clock: Clock) -> None:
    queue = backlog(clock)
    enter(queue, 90)
    clock.now += 0.4
    left_s = STEP_S + 90 * PREFILL_S - 0.4
    assert enter(queue, 10).predicted_s == pytest.approx(left_s + STEP_S + 10 * PREFILL_S)


def test_what_needs_no_engine_takes_no_place(clock: Clock) -> None:
    queue = backlog(clock, sequences=1, max_waiting=0)
    enter(queue)
    queue.enter(Work(0, 0), Urgency(slo_s=0.001), TokenCount())
    assert queue.waiting() == 1


def test_priority_goes_first_then_the_earlier_deadline_then_who_came_first(clock: Clock) -> None:
    queue = backlog(clock, max_waiting=10)
    relaxed = enter(queue)
    clock.now += 0.01
    later = enter(queue)
    urgent = enter(queue, slo_s=5)
    important = enter(queue, priority=3)
    places = sorted([relaxed, later, urgent, important], key=lambda place: place.order)
    assert places == [important, urgent, relaxed, later]
    assert all(-(2**63) <= place.order < 2**63 for place in places)


def test_what_waits_for_a_seat_is_passed_by_a_higher_priority_and_an_earlier_deadline(
    clock: Clock,
) -> None:
    queue = backlog(clock, sequences=1, max_waiting=5)
    enter(queue, 10)
    clock.now += 0.001
    alone = enter(queue, 10).predicted_s
    assert alone is not None
    clock.now += 0.001
    enter(queue, 500)
    assert enter(queue, priority=1).predicted_s == pytest.approx(alone, abs=0.01)
    assert enter(queue, slo_s=10).predicted_s == pytest.approx(2 * alone, rel=0.5)
    assert (enter(queue).predicted_s or 0) > alone + 500 * PREFILL_S


def test_what_the_engine_has_begun_is_passed_by_nobody(clock: Clock) -> None:
    queue = backlog(clock)
    enter(queue, 500)
    assert enter(queue, priority=1).predicted_s == pytest.approx(5.3)


def test_who_has_a_first_token_waits_no_longer(clock: Clock) -> None:
    queue = backlog(clock)
    first = enter(queue, 500)
    first.began_at = clock.now
    assert queue.waiting() == 0
    assert enter(queue).predicted_s == pytest.approx(STEP_S + 10 * PREFILL_S)


@pytest.mark.parametrize(
    ("passed_s", "tokens"), [(0.1, (0, 0)), (0.25, (10, 1)), (0.45, (10, 3)), (60, (10, 5))]
)
def test_who_leaves_an_unstreamed_answer_pays_for_what_the_engine_will_have_done(
    clock: Clock, passed_s: float, tokens: tuple[int, int]
) -> None:
    place = enter(backlog(clock))
    clock.now += passed_s
    place.count_work()
    assert (place.tokens.prompt, place.tokens.completion) == tokens


def test_what_the_engine_has_counted_is_not_estimated(clock: Clock) -> None:
    place = enter(backlog(clock))
    place.tokens.prompt, place.tokens.completion = 7, 1
    clock.now += 60
    place.count_work()
    assert (place.tokens.prompt, place.tokens.completion) == (7, 1)


def test_an_unstreamed_answer_is_taken_to_have_begun_when_it_was_predicted_to(
    clock: Clock,
) -> None:
    queue = backlog(clock)
    enter(queue, 100)
    assert queue.waiting() == 1
    clock.now += STEP_S + 100 * PREFILL_S + 0.01
    assert queue.waiting() == 0


def test_idle_work_goes_behind_every_priority_and_all_orders_fit_64_bits(clock: Clock) -> None:
    queue = backlog(clock, max_waiting=10)
    lowest, highest = -(2**31) + 1, 2**31 - 1
    idle = enter(queue, is_idle=True, priority=highest, slo_s=0.5)
    patient = enter(queue, priority=lowest)
    clock.now += 10**8
    assert idle.order > patient.order
    assert enter(queue, priority=lowest).order < idle.order
    assert enter(queue, priority=highest).order > -(2**63)
    assert idle.order < 2**63


def test_idle_work_takes_no_place_in_which_others_wait(clock: Clock) -> None:
    queue = backlog(clock, sequences=2, max_waiting=2)
    first, _ = enter(queue, is_idle=True), enter(queue)
    with pytest.raises(Unavailable) as caught:
        enter(queue, is_idle=True)
    assert caught.value.code == "overloaded"
    enter(queue)
    first.leave()
    enter(queue)
    enter(queue)
