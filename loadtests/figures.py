"""Figures of a run: percentiles, shares and counts of its records; pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from statistics import median

from loadtests.records import Record

PERCENTILES = (50, 90, 95, 99)
SETTLING_SHARE = 0.1
"""The first and the last part of a run, between which growth is judged."""
ENOUGH_SAMPLES = 20


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The smallest value that `percent` % of the values do not exceed; None where there is none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def percentiles(prefix: str, values: Sequence[float]) -> dict[str, float]:
    """`<prefix>p50_ms` … `<prefix>p99_ms` and `<prefix>max_ms`; nothing of no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    figures = {f"{prefix}p{each}_ms": percentile(ordered, each) or 0.0 for each in PERCENTILES}
    return {**figures, f"{prefix}max_ms": ordered[-1]}


def by_name(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each kind of request, in alphabetical order."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.name].append(record)
    return dict(sorted(groups.items()))


def figures_of(records: Sequence[Record], seconds: float) -> dict[str, float]:
    """The figures that every scenario has. Latencies are those of complete answers."""
    answered = [record for record in records if record.is_ok]
    refused = [record for record in records if record.is_refused]
    told = [record for record in answered if record.cache]
    read = [record for record in answered if record.prompt_tokens and not _is_hit(record)]
    new = [record.prompt_tokens - record.cached_tokens for record in read]
    return {
        "requests": float(len(records)),
        "rate": len(records) / seconds,
        "answered_per_s": len(answered) / seconds,
        "errors": float(sum(record.is_error for record in records)),
        "refusals": float(len(refused)),
        **percentiles("", [record.latency_ms for record in answered]),
        **percentiles("refusal_", [record.latency_ms for record in refused]),
        **percentiles("first_", [r.first_ms for r in answered if r.first_ms is not None]),
        **percentiles("gap_", [gap for record in answered for gap in record.gaps_ms]),
        **({"new_prompt_tokens_p95": percentile(new, 95) or 0.0} if new else {}),
        **percentiles("lag_", [record.lag_ms for record in records]),
        **({"hit_ratio": share(told, _is_hit)} if told else {}),
    }


def _is_hit(record: Record) -> bool:
    return record.cache == "hit"


def share(records: Sequence[Record], counts: Callable[[Record], bool]) -> float:
    """The part of `records` for which `counts` is true; 0 of none."""
    return sum(map(counts, records)) / len(records) if records else 0.0


def outcomes(records: Iterable[Record]) -> list[tuple[str, str, int]]:
    """Name, outcome and number of all requests that were not answered, by number."""
    failed = Counter((record.name, record.outcome) for record in records if not record.is_ok)
    return [(name, outcome, number) for (name, outcome), number in failed.most_common()]


def growth(values: Sequence[float]) -> float | None:
    """By which share the median of the last tenth is above that of the first; None: too few."""
    part = int(len(values) * SETTLING_SHARE)
    if len(values) < ENOUGH_SAMPLES:
        return None
    return median(values[-part:]) / median(values[:part]) - 1


def over_time(
    points: Iterable[tuple[float, float]], seconds: float, bins: int
) -> list[tuple[float, list[float]]]:
    """The values of (time, value) in equal parts of `seconds`: the middle of each, and values."""
    width = seconds / bins
    groups: dict[int, list[float]] = defaultdict(list)
    for at_s, value in points:
        groups[min(int(at_s / width), bins - 1)].append(value)
    return [((index + 0.5) * width, values) for index, values in sorted(groups.items())]
