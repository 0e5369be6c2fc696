"""Run a load test: start the service, warm it, send the load, judge, report.

    python -m loadtests.run SCENARIO --model synthetic:phi-3-mini

Exit code 0: every threshold holds and the client kept its times; 1: not so; 2: there is no result.
With --find-rate it is 0 when at least the first rate holds.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from loadtests.client import LoadFailure
from loadtests.experiment import Experiment, Outcome
from loadtests.judgement import Threshold, overridden
from loadtests.plots import draw
from loadtests.report import (
    Report,
    failures_table,
    figures_table,
    file_name,
    latency_table,
    steps_table,
    thresholds_table,
)
from loadtests.scenario import Load
from loadtests.scenarios import SCENARIOS
from loadtests.service import Setup, drop_own_settings, under_load
from loadtests.surroundings import hardware, versions

REPORTS = Path("docs/reports")
END_LIMIT_S = 30.0
MOST_MINUTES = 240.0
STEP_MINUTES = 0.5
STEADY = ("decision", "normal", "chat")
"""Scenarios of an even rate, which can be raised."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.run", description=__doc__.partition("\n")[0])
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--model", default="phi3-demo", help="as PHI3_MODEL")
    parser.add_argument("--engine", choices=["vllm", "echo"], default="vllm")
    parser.add_argument("--rate", type=float, help="requests a second; unset: the scenario's")
    parser.add_argument("--minutes", type=float, help="of load; unset: the scenario's")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other arrivals")
    parser.add_argument("--find-rate", action="store_true", help="raise it until it fails")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PHI3_X=Y", help="a setting of the service"
    )
    parser.add_argument(
        "--threshold", action="append", default=[], metavar="p95_ms<=300", type=Threshold.parse
    )
    parser.add_argument("--no-cgroup", action="store_true", help="as many cores as there are")
    parser.add_argument("--out", type=Path, default=REPORTS, help="where the report goes")
    return parser


def _options_from(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    scenario = SCENARIOS[options.scenario]
    if options.find_rate and scenario.name not in STEADY:
        parser.error(f"--find-rate is for {', '.join(STEADY)}.")
    options.rate = options.rate or scenario.rate
    options.minutes = options.minutes or (STEP_MINUTES if options.find_rate else scenario.minutes)
    if options.rate <= 0 or not 0 < options.minutes <= MOST_MINUTES:
        parser.error(f"--rate is above 0, and --minutes above 0 and at most {MOST_MINUTES:g}.")
    for setting in options.set:
        if not setting.startswith("PHI3_") or "=" not in setting:
            parser.error(f"--set {setting}: write PHI3_NAME=VALUE.")
    return options


def _say(text: str) -> None:
    print(text, flush=True)


def run(options: argparse.Namespace) -> tuple[list[Outcome], list[str]]:
    """The outcomes, and sentences for the report. Raises `LoadFailure`."""
    scenario = SCENARIOS[options.scenario]
    load = Load(options.rate, options.minutes * 60, options.seed)
    setup = Setup(
        model=options.model,
        engine=options.engine,
        settings=dict(setting.split("=", 1) for setting in options.set),
        tenants=scenario.tenants,
        cgroup=not options.no_cgroup,
    )
    _say(f"Starting the service: {options.model}, {options.engine} …")
    with under_load(setup) as target:
        _say(f"It runs {target.place}. Warming …")
        experiment = Experiment(
            scenario, target, overridden(scenario.thresholds, options.threshold)
        )
        warmed = experiment.warm(load)
        _say(f"{warmed} requests have warmed it. Load: {scenario.name} …")
        if options.find_rate:
            outcomes = experiment.find_rate(load, _say)
        else:
            outcomes = [experiment.measure(load)]
            _say(outcomes[0].describe())
    place = (
        f"The service ran {target.place}, with a key and limits for every tenant; "
        f"{warmed} requests had warmed it. The client ran on the same machine."
    )
    return outcomes, [scenario.summary, place]


def report(
    options: argparse.Namespace, made_by: str, outcomes: Sequence[Outcome], told: Sequence[str]
) -> Report:
    """The report of a run; of several at rising rates, the last that held is shown."""
    scenario = SCENARIOS[options.scenario]
    shown = _shown(outcomes)
    load, records = shown.load, shown.run.records
    samples = [(sample.at - shown.run.began_at, sample) for sample in shown.samples]
    model = options.model if options.engine == "vllm" else "the echo engine"
    steps = [steps_table([_step(each) for each in outcomes])] if options.find_rate else []
    return Report(
        title=f"Load test: {scenario.name}, {model}",
        passed=shown.holds,
        sentences=[
            *told,
            *_caveats(outcomes),
            f"Shown is {load.rate:.4g} req/s for {load.seconds:g} s. Every latency counts from the "
            "moment at which the request was meant to start; those of complete answers are listed.",
            made_by,
        ],
        tables=[
            *steps,
            thresholds_table(shown.verdicts),
            latency_table(records),
            *scenario.tables(records, load),
            failures_table(records),
            figures_table(shown.figures),
        ],
        plots=draw(records, samples, load.seconds),
    )


def _caveats(outcomes: Sequence[Outcome]) -> list[str]:
    if not outcomes[-1].client_was_late:
        return []
    if len(outcomes) == 1:
        return ["The client dispatched too late: these figures say nothing of the service."]
    return ["The search ended because the client was late: the service may hold a higher rate."]


def _shown(outcomes: Sequence[Outcome]) -> Outcome:
    return next((each for each in reversed(outcomes) if each.holds), outcomes[0])


def _step(outcome: Outcome) -> tuple[float, float | None, str]:
    return outcome.load.rate, outcome.figures.get("p95_ms"), outcome.result


def _leave(number: int, _: object) -> None:
    """Leave as after Ctrl-C, ending what was started; what ends it is not to be interrupted."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _end_all_children() -> None:
    """For a child that a signal met while it was being started, so that nobody knows of it."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(children, timeout=END_LIMIT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def main(arguments: list[str]) -> int:
    """Run, report, and tell by the exit code whether the promises hold."""
    options = _options_from(arguments)
    signal.signal(signal.SIGTERM, _leave)
    drop_own_settings()
    command = shlex.join(["python", "-m", "loadtests.run", *arguments])
    # Before the run: the tree may have changed at its end, and the service has not.
    made_by = f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d} with {versions()}, on"
    try:
        outcomes, told = run(options)
    except (LoadFailure, AssertionError) as failure:  # tests.support asserts that it gets ready
        print(f"loadtests: {failure}", file=sys.stderr)
        return 2
    finally:
        _end_all_children()
    made = report(options, f"{made_by} {hardware()}.", outcomes, told)
    is_echo = options.engine == "echo"
    name = file_name(options.scenario, "echo" if is_echo else options.model)
    name += "-rate" if options.find_rate else ""
    made.write(options.out, name)
    _say(f"{'Passed' if made.passed else 'FAILED'}: {options.out / name}.md and .html")
    return 0 if made.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
