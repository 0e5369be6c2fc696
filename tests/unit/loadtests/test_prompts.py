"""Texts by number, and which of them are asked again."""

from collections import Counter
from itertools import islice
from random import Random

import pytest

from loadtests.prompts import Zipf, first_new, repeated_with_some_new, story, ticket
from loadtests.scenario import Load


def draws(seed: int) -> Random:
    return Load(1, 1, seed).random()


def test_a_number_has_one_text_and_no_other_number_has_it() -> None:
    texts = [ticket(number) for number in range(3000)]
    assert len(set(texts)) == 3000
    assert texts == [ticket(number) for number in range(3000)]


def test_a_story_has_its_words_and_begins_with_its_number() -> None:
    assert len(story(5, 40).split()) == pytest.approx(40, abs=2)
    assert story(5, 40).startswith("5:")


def test_popularity_falls_with_the_rank() -> None:
    random, popularity = draws(3), Zipf(2000)
    counts = Counter(popularity.rank(random) for _ in range(50_000))
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.1)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
    assert set(counts) <= set(range(2000))


def test_five_in_a_hundred_are_new_and_each_new_one_comes_once() -> None:
    numbers = list(
        islice(repeated_with_some_new(draws(4), known=100, new_every=20, first_new=1000), 20_000)
    )
    new = [number for number in numbers if number >= 1000]
    assert {at % 20 for at, number in enumerate(numbers) if number >= 1000} == {19}
    assert new == list(range(1000, 1000 + len(new)))
    assert max(number for number in numbers if number < 1000) < 100


def test_runs_of_different_seeds_share_no_new_text() -> None:
    # Four hours at 500 a second.
    assert first_new(1) - first_new(0) > 4 * 3600 * 500
