"""The plots of a report, as one SVG that needs nothing from outside."""

from collections.abc import Callable, Sequence
from io import StringIO
from statistics import mean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.figures import by_name, over_time, percentile
from loadtests.records import Record
from loadtests.sampling import Sample

BINS = 100
CURVE = [*range(1, 90), *(90 + step / 10 for step in range(100))]
HEADROOM = 1.05
SETTINGS = {"svg.hashsalt": "phi3-bento", "svg.fonttype": "none", "font.size": 9}


def draw(records: Sequence[Record], samples: Sequence[tuple[float, Sample]], seconds: float) -> str:
    """Latency over time, percentiles, hit rate over time, memory over time.

    `samples` carry their seconds from the start of the load.
    """
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        (latency, curve), (hits, memory) = figure.subplots(2, 2)
        _latency(latency, records, seconds)
        _curve(curve, records)
        _hits(hits, records, seconds)
        _memory(memory, samples)
        target = StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return target.getvalue()


def _latency(axes: Axes, records: Sequence[Record], seconds: float) -> None:
    points = [(record.intended_s, record.latency_ms) for record in records if record.is_ok]
    bins = over_time(points, seconds, BINS)
    for label, of in (("p50", _at(50)), ("p95", _at(95)), ("max", max)):
        axes.plot([at_s for at_s, _ in bins], [of(values) for _, values in bins], label=label, lw=1)
    firsts = [(each.intended_s, each.first_ms) for each in records if each.first_ms is not None]
    if firsts:
        bins = over_time(firsts, seconds, BINS)
        label = "first token, p95"
        axes.plot([at_s for at_s, _ in bins], [_at(95)(of) for _, of in bins], label=label, lw=1)
    axes.set(title="Latency from the intended start", xlabel="seconds of load", ylabel="ms")
    _from_zero(axes, bool(bins))


def _at(percent: float) -> Callable[[Sequence[float]], float]:
    return lambda values: percentile(values, percent) or 0.0


def _curve(axes: Axes, records: Sequence[Record]) -> None:
    answered = by_name(record for record in records if record.is_ok)
    for name, group in answered.items():
        values = sorted(record.latency_ms for record in group)
        # By the distance to 100 %: the tail has as much room as the rest.
        distances = [100 - percent for percent in CURVE]
        axes.plot(distances, [_at(percent)(values) for percent in CURVE], label=name, lw=1)
    axes.set(title="Percentiles", xlabel="percentile", ylabel="ms", xscale="log")
    axes.set_xticks([100, 50, 10, 5, 1, 0.1], labels=["0", "50", "90", "95", "99", "99.9"])
    axes.set_xlim(100, 0.1)
    _from_zero(axes, bool(answered))


def _hits(axes: Axes, records: Sequence[Record], seconds: float) -> None:
    points = [
        (record.intended_s, float(record.cache == "hit"))
        for record in records
        if record.is_ok and record.cache
    ]
    bins = over_time(points, seconds, BINS)
    axes.plot([at_s for at_s, _ in bins], [100 * mean(values) for _, values in bins], lw=1)
    axes.set(title="Answers from the cache", xlabel="seconds of load", ylabel="%", ylim=(0, 105))


def _memory(axes: Axes, samples: Sequence[tuple[float, Sample]]) -> None:
    times = [at_s for at_s, _ in samples]
    axes.plot(times, [each.rss_bytes / 2**20 for _, each in samples], label="RSS, added up", lw=1)
    used = [(at_s, each.used_bytes / 2**20) for at_s, each in samples if each.used_bytes]
    if used:
        axes.plot(*zip(*used, strict=True), label="used in the cgroup", lw=1)
    axes.set(title="Memory of the service", xlabel="seconds of load", ylabel="MiB")
    _from_zero(axes, bool(samples))


def _from_zero(axes: Axes, has_lines: bool) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * HEADROOM)
    if has_lines:
        axes.legend(fontsize=8)
