"""Records to judge."""

from dataclasses import replace

from loadtests.records import Record

_RECORD = Record("a", intended_s=0.0, lag_ms=0.5, latency_ms=5.0, status=200, outcome="ok")


def answered(**changed: object) -> Record:
    """A complete answer."""
    return replace(_RECORD, **changed)


def refused(**changed: object) -> Record:
    """One of too many."""
    given = {"status": 503, "outcome": "overloaded", "retry_after_ms": 1000.0}
    return replace(_RECORD, **given | changed)


def failed(**changed: object) -> Record:
    """An error of the service."""
    return replace(_RECORD, **{"status": 500, "outcome": "http 500"} | changed)
