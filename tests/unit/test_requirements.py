"""The locks hold all that gets installed, pinned and hashed, and agree with pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

LOCK_NAMES = ("build.txt", "cpu.txt", "dev.txt", "fleet.txt", "semantic.txt", "torch-cpu.txt")
lock_names = pytest.mark.parametrize("name", LOCK_NAMES)


def read_lock(name: str) -> dict[str, str]:
    """Each package of a lock with all that stands behind its name: version, marker, hashes."""
    text = (LOCKS / name).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    return {re.split(r"[^A-Za-z0-9._-]", entry)[0]: entry for entry in entries}


def locked(*names: str) -> dict[str, str]:
    """Name and version of every package in the locks `names`."""
    return {
        package: entry.split("==")[1].split()[0]
        for name in names
        for package, entry in read_lock(name).items()
    }


def pins(requirements: list[str]) -> dict[str, str]:
    """Name and exact version of each requirement; fails where one is not pinned exactly."""
    exact = {}
    for requirement in map(Requirement, requirements):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} is not pinned with =="
        assert "*" not in specifier.version, f"{requirement} is not one version"
        exact[canonicalize_name(requirement.name)] = specifier.version
    return exact


@pytest.mark.parametrize("path", sorted(LOCKS.iterdir()), ids=lambda path: path.name)
def test_no_file_names_an_index(path: Path) -> None:
    assert "://" not in path.read_text()


@lock_names
def test_everything_is_pinned_and_hashed(name: str) -> None:
    entries = read_lock(name)
    assert entries
    for entry in entries.values():
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry


@lock_names
def test_excluded_packages_stay_out(name: str) -> None:
    lines = (LOCKS / "excludes.txt").read_text().splitlines()
    excluded = {line for line in lines if line and not line.startswith("#")}
    broken_or_unused = {"torchvision", "torchaudio", "torchcodec", "triton"}
    assert excluded == broken_or_unused | {"sentence-transformers", "playwright"}
    assert not excluded & read_lock(name).keys()


def test_each_package_stands_in_one_lock() -> None:
    packages = [package for name in LOCK_NAMES for package in read_lock(name)]
    assert len(packages) == len(set(packages))


def test_torch_is_the_cpu_build() -> None:
    assert locked("torch-cpu.txt") == {"torch": "2.13.0+cpu"}


def test_a_bento_lists_the_whole_runtime() -> None:
    lines = [line for line in (LOCKS / "bento.txt").read_text().splitlines() if line[0] != "#"]
    assert dict(line.split("==") for line in lines) == locked("torch-cpu.txt", "cpu.txt")


def test_the_gpus_runtime_has_the_versions_of_pyproject() -> None:
    wanted = pins(PYPROJECT["project"]["dependencies"] + EXTRAS["gpu"])
    assert wanted.items() <= locked("gpu.txt").items()


def test_the_runtime_has_the_versions_of_pyproject() -> None:
    wanted = pins(PYPROJECT["project"]["dependencies"] + EXTRAS["cpu"])
    assert wanted.items() <= locked("cpu.txt").items()


def test_the_semantic_cache_has_the_versions_of_pyproject() -> None:
    assert pins(EXTRAS["semantic"]).items() <= locked("semantic.txt").items()


def test_the_fleet_has_the_versions_of_pyproject() -> None:
    assert pins(EXTRAS["fleet"]).items() <= locked("fleet.txt").items()


def test_the_tools_have_the_versions_of_pyproject() -> None:
    wanted = pins(EXTRAS["dev"] + EXTRAS["load"])
    assert wanted.items() <= locked("cpu.txt", "build.txt", "dev.txt").items()


def test_the_build_backend_has_the_version_of_pyproject() -> None:
    assert pins(PYPROJECT["build-system"]["requires"]).items() <= locked("build.txt").items()


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_every_extra_is_pinned(extra: str) -> None:
    assert pins(EXTRAS[extra])


def imported() -> set[str]:
    """The outermost names of everything that the product imports from elsewhere."""
    names: set[str] = set()
    for file in [ROOT / "service.py", *(ROOT / "phi3_bento").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"phi3_bento", "service"}


def test_everything_that_the_product_imports_is_locked() -> None:
    homes = packages_distributions()
    runtime = locked("cpu.txt", "torch-cpu.txt", "semantic.txt", "fleet.txt").keys()
    stray = {
        name
        for name in imported()
        if not runtime & {canonicalize_name(home) for home in homes.get(name, [])}
    }
    assert not stray, "add these to pyproject.toml, then run make lock"
