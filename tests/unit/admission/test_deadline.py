"""The prediction of the time to a first token follows the engine's measured speed and its work."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.admission.deadline import (
    CurrentStep,
    Room,
    Speed,
    SpeedMeter,
    Work,
    predict_first_token_s,
)
from phi3_bento.engine.state import Step

SPEED = Speed(step_s=0.08, prefill_s=0.005, decode_s=0.002)
ROOM = Room(sequences=4, kv_tokens=1000, chunk_tokens=100)


def seconds(prefill: int, decode: int, speed: Speed = SPEED) -> float:
    return speed.step_s + prefill * speed.prefill_s + decode * speed.decode_s


def predict(
    own: Work,
    running: list[Work] = [],  # noqa: B006
    ahead: list[Work] = [],  # noqa: B006
    current: CurrentStep = CurrentStep(),  # noqa: B008
) -> float:
    return predict_first_token_s(SPEED, ROOM, running, ahead, own, current)


def test_nothing_is_known_before_steps_of_both_kinds_were_seen() -> None:
    meter = SpeedMeter()
    for _ in range(10):
        meter.observe(Step(20, 0, 0.1))
    assert meter.speed() is None


def test_the_speed_is_learnt_from_steps() -> None:
    meter, dice = SpeedMeter(), random.Random(1)  # noqa: S311  # noise, no secret
    for _ in range(300):
        prefill = dice.choice([0, 0, 0, 16, 64, 200])
        decode = dice.randint(0 if prefill else 1, 8)
        noise = dice.uniform(0.95, 1.05)
        meter.observe(Step(prefill, decode, noise * seconds(prefill, decode)))
    speed = meter.speed()
    assert speed is not None
    assert speed.prefill_s == pytest.approx(SPEED.prefill_s, rel=0.1)
    assert speed.decode_step_s(4) == pytest.approx(SPEED.decode_step_s(4), rel=0.05)


@pytest.mark.parametrize("paused", [Step(100, 4, 8.0), Step(0, 4, 8.0)])
def test_a_step_in_which_the_machine_stood_still_says_nothing_of_the_next(paused: Step) -> None:
    meter = SpeedMeter()
    for count in range(1, 21):
        meter.observe(Step(100, 2, seconds(100, 2)))
        meter.observe(Step(20, 0, seconds(20, 0)))
        meter.observe(Step(0, count % 5 + 1, seconds(0, count % 5 + 1)))
    meter.observe(paused)
    speed = meter.speed()
    assert speed is not None
    assert seconds(128, 4, speed) == pytest.approx(seconds(128, 4))
    assert speed.decode_step_s(4) == pytest.approx(SPEED.decode_step_s(4))


def test_a_slower_engine_is_noticed() -> None:
    meter = SpeedMeter()
    for factor in (1, 3):
        for _ in range(200):
            meter.observe(Step(50, 0, factor * seconds(50, 0)))
            meter.observe(Step(0, 2, factor * seconds(0, 2)))
    speed = meter.speed()
    assert speed is not None
    assert seconds(50, 2, speed) == pytest.approx(3 * seconds(50, 2), rel=0.1)


steps = st.builds(
    Step,
    prefill_tokens=st.integers(0, 512),
    decode_tokens=st.integers(0, 32),
    seconds=st.floats(0, 10),
)


@given(st.lists(steps, max_size=40))
def test_no_steps_make_a_negative_speed(observed: list[Step]) -> None:
    meter = SpeedMeter()
    for step in observed:
        meter.observe(step)
    speed = meter.speed()
    assert speed is None or min(speed.step_s, speed.prefill_s, speed.decode_s) >= 0


def test_an_idle_engine_takes_one_step_for_a_short_prompt() -> None:
    assert predict(Work(20, 10)) == pytest.approx(seconds(20, 0))


def test_a_long_prompt_takes_a_step_for_each_chunk_while_others_decode() -> None:
    expected = 300 * SPEED.prefill_s + 3 * SPEED.decode_step_s(2)
    assert predict(Work(250, 10), [Work(10, 5), Work(10, 5)]) == pytest.approx(expected)


def test_prompts_ahead_are_computed_first() -> None:
    assert predict(Work(20, 1), ahead=[Work(70, 1)]) == pytest.approx(seconds(90, 0))


def test_the_step_that_is_running_is_awaited_and_what_it_reads_is_read() -> None:
    current = CurrentStep(prefill_tokens=70, age_s=0.0)
    expected = seconds(70, 0) + seconds(20, 0)
    assert predict(Work(20, 1), ahead=[Work(70, 1)], current=current) == pytest.approx(expected)
    later = replace(current, age_s=seconds(70, 0) / 2)
    assert predict(Work(20, 1), ahead=[Work(70, 1)], current=later) == pytest.approx(
        expected - seconds(70, 0) / 2
    )
    overdue = replace(current, age_s=100.0)
    assert predict(Work(20, 1), ahead=[Work(70, 1)], current=overdue) == pytest.approx(
        seconds(20, 0)
    )


def test_where_all_seats_are_taken_the_next_end_is_awaited() -> None:
    running = [Work(10, new) for new in (40, 7, 30, 20)]
    expected = 7 * SPEED.decode_step_s(4) + seconds(20, 4)
    assert predict(Work(20, 1), running) == pytest.approx(expected)


def test_who_stands_ahead_takes_the_seat_that_comes_free() -> None:
    running = [Work(10, new) for new in (40, 7, 30, 20)]
    expected = 20 * SPEED.decode_step_s(4) + seconds(40, 4)
    assert predict(Work(20, 1), running, [Work(20, 100)]) == pytest.approx(expected)


def test_where_the_kv_cache_is_full_its_room_is_awaited() -> None:
    running = [Work(400, 50), Work(400, 100)]
    expected = 50 * SPEED.decode_step_s(2) + 200 * SPEED.prefill_s + 2 * SPEED.decode_step_s(2)
    assert predict(Work(200, 10), running) == pytest.approx(expected)


works = st.lists(st.builds(Work, st.integers(1, 900), st.integers(1, 500)), max_size=12)


@given(running=works, ahead=works, own=st.builds(Work, st.integers(1, 900), st.integers(1, 100)))
def test_more_work_ahead_never_makes_it_sooner(
    running: list[Work], ahead: list[Work], own: Work
) -> None:
    assert predict(own, running, ahead) >= predict(own, running, ahead[:-1]) - 1e-9
    assert predict(own, running, ahead) > 0
