"""What a check has found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """The service runs, and not as well as it could."""
    PROBLEM = "problem"
    """It does not start, or does not do what the settings say."""
    SKIPPED = "skipped"
    """It could not be looked at, or is not in use."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: a sentence that says what is, and one that says what to do."""

    check: str
    state: State
    says: str
    remedy: str = ""


def ok(check: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(check, State.OK, says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, State.WARNING, says, remedy)


def problem(check: str, says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, State.PROBLEM, says, remedy)


def skipped(check: str, says: str) -> Finding:
    """Nobody looked."""
    return Finding(check, State.SKIPPED, says)
