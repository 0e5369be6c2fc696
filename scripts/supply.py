"""The bill of materials of the locked packages, and what is known against them.

`sbom` writes build/sbom.json (CycloneDX). `audit` asks a service of advisories about every package
and ends with 0: nothing that can be mended; 1: something can; 3: some could not be asked about,
which is not the same as nothing found.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("torch-cpu.txt", "cpu.txt", "semantic.txt")
SBOM = ROOT / "build" / "sbom.json"
MENDABLE, NOT_CHECKED = 1, 3
PIP_AUDIT = ["pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json"]


def locks() -> str:
    """Everything that is served with, as one list of requirements with hashes."""
    return "\n".join((ROOT / "requirements" / name).read_text("utf-8") for name in LOCKS)


def pins(text: str) -> dict[str, str]:
    """Name and public version of each package: advisories know torch 2.13.0, not 2.13.0+cpu."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s+;]+)", text, re.MULTILINE))


def own_version() -> str:
    """The version of phi3-bento, from the one place where it is written."""
    text = (ROOT / "phi3_bento" / "__init__.py").read_text("utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def sbom(path: Path = SBOM) -> int:
    """Write the bill of materials."""
    path.parent.mkdir(exist_ok=True)
    command = ["cyclonedx_py", "requirements", "--output-reproducible", "--pyproject"]
    tool(*command, str(ROOT / "pyproject.toml"), "-o", str(path), "-", text=locks())
    bill = json.loads(path.read_text("utf-8"))
    bill["metadata"]["component"]["version"] = own_version()  # pyproject.toml only says where it is
    path.write_text(json.dumps(bill, indent=2), "utf-8")
    print(f"Wrote {path}: {len(bill['components'])} packages.")
    return 0


def audit() -> int:
    """Ask about every package; the exit code."""
    wanted = pins(locks())
    listed = "\n".join(f"{name}=={version}" for name, version in wanted.items())
    result = tool(*PIP_AUDIT, "--requirement", "/dev/stdin", text=listed, check=False)
    try:
        found = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):  # it ended before it had asked about all
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        found = [{"name": name, "skip_reason": reason} for name in wanted]
    lines, code = verdict(wanted, found)
    print("\n".join(lines))
    return code


def verdict(wanted: dict[str, str], found: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to tell of pip-audit's findings, and the exit code."""
    checked = {entry["name"]: entry["vulns"] for entry in found if "vulns" in entry}
    reasons = {entry["name"]: entry["skip_reason"] for entry in found if "skip_reason" in entry}
    missing = [name for name in wanted if name not in checked]
    lines, mendable = [], 0
    for name, vulnerabilities in checked.items():
        for each in vulnerabilities:
            fixed = ", ".join(each["fix_versions"])
            mendable += bool(fixed)
            advice = f"mended in {fixed}" if fixed else "no version mends it yet"
            lines.append(f"{name} {wanted[name]}: {each['id']}, {advice}")
    lines.append(f"{len(checked)} of {len(wanted)} packages checked, {mendable} findings to mend.")
    if missing:
        reason = reasons.get(missing[0], "it was not answered")
        lines.append(
            f"NOT CHECKED: {len(missing)} of {len(wanted)} packages, beginning with {missing[0]} "
            f"({reason}). Whether anything is known against them is open; run this where the "
            "service of advisories can be reached."
        )
    return lines, MENDABLE if mendable else NOT_CHECKED if missing else 0


def tool(*command: str, text: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment on `text`."""
    return subprocess.run(
        [sys.executable, "-m", *command], input=text, text=True, capture_output=True, check=check
    )


if __name__ == "__main__":
    sys.exit({"sbom": sbom, "audit": audit}[sys.argv[1]]())
