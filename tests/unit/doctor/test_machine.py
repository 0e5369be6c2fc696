"""The plan, the space and the processor are compared with what the machine has."""

from pathlib import Path

import pytest

from phi3_bento.doctor import machine, place
from phi3_bento.doctor.finding import State
from phi3_bento.engine.budget import GIB, MemoryPlan


def plan(*, peak: int) -> MemoryPlan:
    weights = int(peak * GIB) - 3 * GIB
    return MemoryPlan(8 * GIB, weights, GIB, 4096, processes_bytes=GIB, working_bytes=GIB)


@pytest.mark.parametrize(
    ("peak", "total", "available", "state"),
    [(5, 8, 7, State.OK), (5, 8, 4, State.WARNING), (7, 6, 5, State.PROBLEM)],
)
def test_the_plan_is_compared_with_what_the_machine_has(
    peak: int, total: int, available: int, state: State
) -> None:
    found = machine._fit(plan(peak=peak), total=total * GIB, available=available * GIB, bound="x")
    assert found.state is state


@pytest.mark.parametrize(
    ("free", "model", "state"),
    [
        (20, 0, State.OK),
        (1, 0, State.WARNING),
        (0.1, 0, State.PROBLEM),
        (8, 8, State.PROBLEM),
        (8.5, 8, State.WARNING),
    ],
)
def test_the_space_is_compared_with_what_may_come(free: float, model: int, state: State) -> None:
    found = place.judge_space(int(free * GIB), kept=GIB, model=model * GIB)
    assert found.state is state


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ("fpu avx2 avx512f avx512_vnni", State.OK),
        ("fpu avx2", State.WARNING),
        ("fpu sse4_2", State.PROBLEM),
        (None, State.SKIPPED),
    ],
)
def test_the_processor_s_features_are_read(tmp_path: Path, flags: str | None, state: State) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("" if flags is None else f"model name\t: x\nflags\t\t: {flags}\n")
    assert machine.check_processor(cpuinfo).state is state
