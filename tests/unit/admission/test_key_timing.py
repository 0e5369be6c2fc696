"""How long a refusal takes tells nothing of the key."""

import gc
import random
from collections.abc import Callable
from itertools import combinations, groupby
from math import sqrt
from pathlib import Path
from time import perf_counter_ns

from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.keys import key_id_of, new_token
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import InvalidApiKey

SAMPLES = 3000
FALSE_ALARM_Z = 10.0
"""Ideal samples exceed 5.5 once in 8 million runs. Real ones, with a machine's caches in them,
spread up to one and a half times as wide; a comparison that stops early reaches 60."""


def rank_z(one: list[int], other: list[int]) -> float:
    """Mann and Whitney's U in standard deviations: whether one sample tends to be the larger."""
    labelled = sorted([(value, 1) for value in one] + [(value, 0) for value in other])
    rank_sum, rank = 0.0, 0
    for _, ties in groupby(labelled, key=lambda pair: pair[0]):
        labels = [label for _, label in ties]
        rank_sum += sum(labels) * (rank + (len(labels) + 1) / 2)
        rank += len(labels)
    n, m = len(one), len(other)
    return (rank_sum - n * (n + m + 1) / 2) / sqrt(n * m * (n + m + 1) / 12)


def wrong_key(right: str, shared: int) -> str:
    """A key that has its first `shared` characters from the right one, and not the next."""
    different = "A" if right[shared] != "A" else "B"
    return right[:shared] + different + new_token()[shared + 1 :]


def largest_z(compare: Callable[[str], object], right: str) -> float:
    """How clearly the time of `compare` tells how much of a wrong key's secret half is right."""
    start = len(f"p3_{key_id_of(right)}_")
    lengths = [start, (start + len(right)) // 2, len(right) - 1]
    attempts = lengths * SAMPLES
    random.SystemRandom().shuffle(attempts)
    # Each key is a text of its own, copied in the order of use: not its place in memory is timed.
    built = [wrong_key(right, shared).encode() for shared in attempts]
    tried = [(shared, key.decode()) for shared, key in zip(attempts, built, strict=True)]
    taken: dict[int, list[int]] = {length: [] for length in lengths}
    gc.disable()
    try:
        for shared, key in tried:
            before = perf_counter_ns()
            compare(key)
            taken[shared].append(perf_counter_ns() - before)
    finally:
        gc.enable()
    return max(abs(rank_z(taken[one], taken[other])) for one, other in combinations(lengths, 2))


async def test_the_time_of_a_refusal_does_not_tell_how_much_of_a_key_is_right(
    tmp_path: Path,
) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'phi3.db'}")
    await upgrade(engine)
    store = KeyStore(engine, b"secret")
    # Its clock stands still: what is remembered stays fresh, and nothing is waited for.
    ring = Keyring(store, b"secret", api_key=new_token(), clock=lambda: 0.0)
    _, right = await store.create(KeyTerms(tenant="acme"))
    await ring.authenticate(f"Bearer {right}", None)

    def authenticate(key: str) -> None:
        try:
            ring.authenticate(f"Bearer {key}", None).send(None)
        except InvalidApiKey:
            return
        raise AssertionError("the keyring waited, or let a wrong key in")

    assert largest_z(authenticate, right) < FALSE_ALARM_Z
    await engine.dispose()


def test_the_same_statistic_finds_a_comparison_that_stops_at_the_first_difference() -> None:
    right = new_token()

    def stops_early(key: str) -> bool:
        return all(its == mine for its, mine in zip(key, right, strict=True))

    assert largest_z(stops_early, right) > FALSE_ALARM_Z
