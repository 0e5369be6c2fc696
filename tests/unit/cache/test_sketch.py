"""The sketch counts what is asked for, and forgets."""

from phi3_bento.cache.sketch import MAX_COUNT, PERIOD, FrequencySketch


def test_the_sketch_counts_and_forgets_by_halves() -> None:
    sketch = FrequencySketch()
    assert sketch.estimate("a") == 0
    for _ in range(6):
        sketch.add("a")
    assert sketch.estimate("a") == 6
    for _ in range(PERIOD - 6):
        sketch.add("b")
    assert (sketch.estimate("a"), sketch.estimate("b")) == (3, MAX_COUNT // 2)


def test_the_sketch_never_says_too_little_and_seldom_too_much() -> None:
    sketch = FrequencySketch()
    counts = {f"{number}": 1 + number % 4 for number in range(10_000)}
    for key, count in counts.items():
        for _ in range(count):
            sketch.add(key)
    errors = [sketch.estimate(key) - count for key, count in counts.items()]
    assert min(errors) == 0
    assert sum(error > 0 for error in errors) < len(errors) / 100
