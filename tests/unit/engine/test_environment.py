"""vLLM's environment is computed for this machine, and the operator has the last word."""

import subprocess
import sys
from pathlib import Path

import pytest

from phi3_bento.engine.environment import (
    compute_threads,
    engine_environment,
    has_amx,
    memory_limit,
    preloads,
    usable_cores,
)


def environment(tmp_path: Path, *, eager: bool = True, **inherited: str) -> dict[str, str]:
    return engine_environment(
        data_dir=tmp_path, threads=None, eager=eager, log_level="info", inherited=inherited
    )


@pytest.mark.parametrize(
    ("cores", "threads", "binding"),
    [
        ([0, 1], None, "0,1"),
        ([4, 6, 7, 9], None, "4,6"),
        ([4, 6, 7, 9], 3, "4,6,7"),
        ([0, 1], 1, "0"),
        ([3], None, "3"),
        ([0, 1], 64, "0,1"),
    ],
)
def test_threads_are_bound_to_usable_cores(
    cores: list[int], threads: int | None, binding: str
) -> None:
    variables = compute_threads(cores, threads)
    assert variables["OMP_NUM_THREADS"] == str(len(binding.split(",")))
    assert f"proclist=[{binding}]" in variables["KMP_AFFINITY"]


def test_only_cores_that_the_process_may_use_are_counted() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))});"
        "from phi3_bento.engine.environment import usable_cores; print(usable_cores())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert output.stdout.strip() == str([max(usable_cores())])


def test_everything_that_is_written_goes_under_the_data_directory(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    for name in (
        *("VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME"),
    ):
        assert Path(variables[name]).is_relative_to(tmp_path), name


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == "1"


def test_nothing_is_compiled_unless_asked_for(tmp_path: Path) -> None:
    assert environment(tmp_path)["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCH_COMPILE_DISABLE" not in environment(tmp_path, eager=False)


def test_the_log_level_is_handed_on(tmp_path: Path) -> None:
    assert environment(tmp_path)["VLLM_LOGGING_LEVEL"] == "INFO"


def test_what_the_operator_has_set_is_kept(tmp_path: Path) -> None:
    everything = environment(tmp_path)
    assert environment(tmp_path, **everything) == {}
    assert "VLLM_CACHE_ROOT" not in environment(tmp_path, VLLM_CACHE_ROOT="/mine")


def test_libraries_are_preloaded_after_the_operator_s(tmp_path: Path) -> None:
    ours = [str(path) for path in preloads()]
    expected = ":".join(["/opt/mine.so", *ours]) if ours else None
    assert environment(tmp_path, LD_PRELOAD="/opt/mine.so").get("LD_PRELOAD") == expected


def test_a_library_that_the_operator_preloads_is_not_loaded_twice(tmp_path: Path) -> None:
    theirs = ":".join(f"/opt/{path.name}" for path in preloads())
    assert "LD_PRELOAD" not in environment(tmp_path, LD_PRELOAD=theirs)


def test_only_libraries_that_exist_are_preloaded(tmp_path: Path) -> None:
    openmp = tmp_path / "lib" / "libiomp5.so"
    assert openmp not in preloads(tmp_path)
    openmp.parent.mkdir()
    openmp.touch()
    found = preloads(tmp_path)
    assert found[0] == openmp
    assert all(path.exists() for path in found)
    assert sum("tcmalloc" in path.name for path in found) <= 1


@pytest.mark.parametrize(
    ("line", "file", "text", "limit"),
    [
        ("9:memory:/app", "memory/app/memory.limit_in_bytes", "8589934592", 8589934592),
        ("9:memory:/app", "memory/app/memory.limit_in_bytes", str(2**63 - 4096), None),
        ("9:memory:/app/part", "memory/app/memory.limit_in_bytes", "4096000", 4096000),
        ("9:memory:/", "memory/memory.limit_in_bytes", "4096000", 4096000),
        ("4:cpu,memory:/app", "memory/app/memory.limit_in_bytes", "4096000", 4096000),
        ("0::/app", "app/memory.max", "8589934592", 8589934592),
        ("0::/app", "app/memory.max", "max", None),
        ("0::/app/part", "app/memory.max", "4096000", 4096000),
        ("3:cpu:/app", "memory/app/memory.limit_in_bytes", "4096000", None),
    ],
)
def test_the_cgroup_s_memory_limit_is_found_in_both_versions(
    tmp_path: Path, line: str, file: str, text: str, limit: int | None
) -> None:
    own = tmp_path / "proc/self/cgroup"
    own.parent.mkdir(parents=True)
    own.write_text(f"{line}\n")
    limits = tmp_path / "sys/fs/cgroup" / file
    limits.parent.mkdir(parents=True)
    limits.write_text(f"{text}\n")
    assert memory_limit(tmp_path) == limit


def test_without_a_cgroup_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu amx_bf16 amx_tile", True), ("fpu vme", False)]
)
def test_a_processor_with_tiles_is_recognised(tmp_path: Path, flags: str, expected: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert has_amx(cpuinfo) is expected
    assert not has_amx(tmp_path / "missing")
