"""scripts/install.py says what is wrong in one sentence, and does nothing twice."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install.py"
HERE = ("Linux", "x86_64", "glibc")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/install.py as a module."""
    spec = importlib.util.spec_from_file_location("phi3_install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script on a project of its own in `tmp_path`, where pip is only recorded in `calls`."""
    (tmp_path / "requirements").mkdir()
    for lock in script.LOCKS:
        (tmp_path / "requirements" / lock).write_text(f"content of {lock}")
    (tmp_path / "pyproject.toml").write_text("[project]")
    calls: list[str] = []
    failing: set[str] = set()

    def call(command: list[str], log: Path, label: str) -> int:
        what = "venv" if "venv" in command else command[-1].removeprefix(f"{tmp_path}/")
        if what == "venv":
            python = tmp_path / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
            (tmp_path / ".venv" / "lib" / "python3.11").mkdir(parents=True)
            (tmp_path / ".venv" / "pyvenv.cfg").touch()
            make_package(tmp_path, "pip-23", "RECORD", "INSTALLER")
        calls.append(what)
        return int(what in failing)

    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "call", call)
    monkeypatch.setattr(script, "calls", calls, raising=False)
    monkeypatch.setattr(script, "failing", failing, raising=False)
    return script


def make_package(project: Path, name: str, *files: str) -> Path:
    """The record of an installed package, with `files` in it."""
    packages = project / ".venv" / "lib" / "python3.11" / "site-packages"
    record = packages / f"{name}.dist-info"
    record.mkdir(parents=True)
    for file in files:
        (record / file).touch()
    return record


RUNTIME = ["requirements/torch-cpu.txt", "requirements/cpu.txt", "requirements/build.txt"]


def test_another_python_gets_one_sentence_that_says_what_to_run(script: ModuleType) -> None:
    assert script.unsupported((3, 12, 1), *HERE) == (
        "phi3-bento needs Python 3.11; this is 3.12. Run: make serve PYTHON=/path/to/python3.11"
    )


@pytest.mark.parametrize(
    "machine", [("Darwin", "arm64", ""), ("Linux", "aarch64", "glibc"), ("Linux", "x86_64", "musl")]
)
def test_another_machine_gets_one_sentence(
    script: ModuleType, machine: tuple[str, str, str]
) -> None:
    assert "needs Linux on x86-64 with glibc" in script.unsupported((3, 11, 2), *machine)


def test_a_python_without_venv_is_told_the_package(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name
    )
    assert "apt-get install python3.11-venv" in script.unsupported((3, 11, 2), *HERE)


def test_this_python_on_this_machine_is_fine(script: ModuleType) -> None:
    assert script.unsupported((3, 11, 2), *HERE) is None


def test_the_first_run_does_every_step_in_order(install: ModuleType, tmp_path: Path) -> None:
    install.install(tmp_path / ".venv")
    assert install.calls == ["venv", *RUNTIME, str(tmp_path)]


def test_the_second_run_does_nothing_and_says_nothing(
    install: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install.install(tmp_path / ".venv", "--dev")
    install.calls.clear()
    capsys.readouterr()
    install.install(tmp_path / ".venv", "--dev")
    install.install(tmp_path / ".venv")
    assert install.calls == []
    assert capsys.readouterr().out == ""


def test_the_tools_are_added_to_an_installed_runtime(install: ModuleType, tmp_path: Path) -> None:
    install.install(tmp_path / ".venv")
    install.calls.clear()
    install.install(tmp_path / ".venv", "--dev")
    assert install.calls == [f"requirements/{name}.txt" for name in ("semantic", "fleet", "dev")]


def test_the_semantic_cache_is_added_to_an_installed_runtime(
    install: ModuleType, tmp_path: Path
) -> None:
    install.install(tmp_path / ".venv")
    install.calls.clear()
    install.install(tmp_path / ".venv", "--semantic")
    assert install.calls == ["requirements/semantic.txt"]


def test_a_changed_lock_repeats_its_own_step_only(install: ModuleType, tmp_path: Path) -> None:
    install.install(tmp_path / ".venv", "--dev")
    install.calls.clear()
    (tmp_path / "requirements" / "cpu.txt").write_text("another version")
    install.install(tmp_path / ".venv", "--dev")
    assert install.calls == ["requirements/cpu.txt"]


def test_a_failed_run_goes_on_where_it_stopped(install: ModuleType, tmp_path: Path) -> None:
    install.failing.add("requirements/cpu.txt")
    with pytest.raises(install.InstallError, match="what is done stays done"):
        install.install(tmp_path / ".venv")
    install.calls.clear()
    install.failing.clear()
    install.install(tmp_path / ".venv")
    assert install.calls == [*RUNTIME[1:], str(tmp_path)]


def test_torch_is_tried_from_its_own_index_only_after_a_failure(
    install: ModuleType, tmp_path: Path
) -> None:
    install.failing.add("requirements/torch-cpu.txt")
    install.install(tmp_path / ".venv")
    assert install.calls == ["venv", RUNTIME[0], install.TORCH_INDEX, *RUNTIME[1:], str(tmp_path)]


def test_a_package_cut_short_is_installed_again(install: ModuleType, tmp_path: Path) -> None:
    install.install(tmp_path / ".venv")
    whole = make_package(tmp_path, "whole-1", "METADATA", "RECORD", "INSTALLER")
    half = make_package(tmp_path, "half-1", "METADATA")
    assert install.forget_half_installed(tmp_path / ".venv") == ["half-1.dist-info"]
    assert whole.exists()
    assert not half.exists()


def test_a_damaged_stamp_means_nothing_is_done(install: ModuleType, tmp_path: Path) -> None:
    (tmp_path / install.STAMP).write_text('{"cpu.txt": "to')
    assert install.finished(tmp_path) == {}


def test_a_folder_of_something_else_is_left_alone(install: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(install.InstallError, match="something else than a virtual environment"):
        install.install(tmp_path)
    assert install.calls == []


def test_a_failure_shows_the_end_of_the_last_command_and_what_to_do(
    script: ModuleType, tmp_path: Path
) -> None:
    log = tmp_path / script.LOG
    log.write_text("\n$ pip 1\nNo matching distribution\n\n$ pip 2\nstarted\nNo space left on it\n")
    told = str(script.failure(log))
    assert "  | No space left on it\nFree some disk space" in told
    assert "No matching" not in told
    assert str(log) in told


def test_an_images_layer_of_packages_is_without_phi3_bento(install: ModuleType) -> None:
    venv = install.ROOT / ".venv"
    install.install(venv, "--locks")
    assert "project" not in install.finished(venv)
    install.install(venv)
    assert "project" in install.finished(venv)


def test_for_a_gpu_the_cpus_packages_stay_out(install: ModuleType) -> None:
    names = [step.name for step in install.plan(install.ROOT / ".venv", ["--gpu"])]
    assert names == ["gpu.txt", "build.txt", "project"]


def test_a_library_that_vllm_needs_is_named_before_anything_is_installed(
    script: ModuleType,
) -> None:
    assert script.missing_library() is None
    assert "sudo apt-get install libnuma1" in script.missing_library("libnobody.so.1")
