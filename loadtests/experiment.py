"""One run of a scenario against a service that is ready, judged; or several at rising rates."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from loadtests.client import LoadFailure, play, warm
from loadtests.figures import figures_of, growth
from loadtests.judgement import (
    LAG_FIGURE,
    Threshold,
    Verdict,
    climb,
    judge,
    lag_limit_ms,
    lag_verdict,
)
from loadtests.records import Run
from loadtests.sampling import Sample, sampled
from loadtests.scenario import Load, Scenario
from loadtests.service import Target
from loadtests.tables import number

STEP_FACTOR = 1.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, and what is thought of it."""

    load: Load
    run: Run
    samples: Sequence[Sample]
    figures: Mapping[str, float]
    verdicts: Sequence[Verdict]

    @property
    def holds(self) -> bool:
        """Every threshold, and the client's own."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def client_was_late(self) -> bool:
        """The client did not keep its times: the run says nothing of the service."""
        failed = {verdict.threshold.figure for verdict in self.verdicts if not verdict.holds}
        return LAG_FIGURE in failed

    @property
    def result(self) -> str:
        """What held or failed, in words."""
        failed = [
            f"{each.threshold} ({number(each.value)})" for each in self.verdicts if not each.holds
        ]
        return f"fails: {', '.join(failed)}" if failed else "holds"

    def describe(self) -> str:
        """A line for the terminal."""
        p95, lag = (number(self.figures.get(name)) for name in ("p95_ms", "lag_p99_ms"))
        size = f"{self.load.rate:.4g} req/s for {self.load.seconds:g} s"
        return f"{size}: p95 {p95} ms, lag p99 {lag} ms, {self.result}"


@dataclass(frozen=True, slots=True)
class Experiment:
    """A scenario on a running service."""

    scenario: Scenario
    target: Target
    thresholds: tuple[Threshold, ...]

    def warm(self, load: Load) -> int:
        """Send what the scenario wants sent before; how many that were. Raises `LoadFailure`."""
        shots = self.scenario.warm(load)
        failures = asyncio.run(warm(self.target.service.url, self.target.keys, shots))
        if failures:
            raise LoadFailure(
                f"The service could not be warmed: of {len(shots)} requests failed "
                f"{failures.total()}, {dict(failures)}."
            )
        return len(shots)

    def measure(self, load: Load) -> Outcome:
        """Send the load and judge it. Raises `LoadFailure`."""
        scenario, target = self.scenario, self.target
        with sampled(target, load.seconds) as sampler:
            before_s = sampler.cpu_s()
            run = play(scenario, load, target.service.url, target.keys)
            cpu_s = sampler.cpu_s() - before_s
        samples = [each for each in sampler.samples if each.at >= run.began_at]
        figures = {
            **figures_of(run.records, load.seconds),
            **cost_figures(run, cpu_s),
            **memory_figures(samples),
            **scenario.figures(run.records, load),
        }
        limit_ms = scenario.lag_limit_ms or lag_limit_ms(load.rate)
        verdicts = [*judge(self.thresholds, figures), lag_verdict(figures, limit_ms)]
        return Outcome(load, run, samples, figures, verdicts)

    def find_rate(self, first: Load, say: Callable[[str], None]) -> list[Outcome]:
        """Runs at rising rates; the last is the one that does not hold, if any does not."""
        outcomes: list[Outcome] = []

        def holds(rate: float) -> bool:
            load = replace(first, rate=rate, seed=first.seed + len(outcomes))
            outcomes.append(self.measure(load))
            say(outcomes[-1].describe())
            return outcomes[-1].holds

        climb(first.rate, STEP_FACTOR, holds)
        return outcomes


def cost_figures(run: Run, service_cpu_s: float) -> dict[str, float]:
    """CPU that a request takes of the client and of the service."""
    count = max(1, len(run.records))
    return {
        "client_cpu_ms_per_request": run.cpu_s * 1000 / count,
        "client_cpu_ratio": run.cpu_s / run.wall_s,
        "service_cpu_ms_per_request": service_cpu_s * 1000 / count,
    }


def memory_figures(samples: Sequence[Sample]) -> dict[str, float]:
    """Peak and growth of the service's memory; growth only of enough samples."""
    if not samples:
        return {}
    sizes = [float(sample.bytes) for sample in samples]
    ratio = growth(sizes)
    growing = {} if ratio is None else {"memory_growth_ratio": ratio}
    return {"memory_peak_mib": max(sizes) / 2**20, **growing}
