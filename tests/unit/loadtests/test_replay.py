"""What guesses are worth, by replaying answers that are known."""

import pytest

from loadtests.compare.replay import GUESS_MS, MOST, STEP_MS, letter, time_share, tokens_of
from phi3_bento.engine.vllm_guessing import guess


def test_without_a_guess_an_answer_takes_its_time() -> None:
    assert time_share([1, 2], [3, 4, 5], lambda _: []) == 1


def test_a_right_guess_saves_steps_and_a_wrong_one_costs() -> None:
    right, wrong = [3, 4], [9, 9]
    assert time_share([1, 2], [3, 4, 5], lambda _: right) == pytest.approx(
        (STEP_MS + 2 * GUESS_MS) / (3 * STEP_MS)
    )
    assert time_share([1, 2], [3], lambda _: wrong) == pytest.approx(1 + 2 * GUESS_MS / STEP_MS)


def test_fields_from_a_letter_are_worth_guessing() -> None:
    numbers: dict[str, int] = {}
    prompt, answer = (tokens_of(text, numbers) for text in letter(3))
    assert time_share(prompt, answer, lambda text: guess(text, MOST)) < 0.8
