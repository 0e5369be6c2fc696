"""The state of a fleet as a table."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_COLUMNS = (
    *("", "state", "for", "running", "waiting", "answered"),
    *("cached", "prefix", "restarts", "port"),
)
_STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "empty": "dim"}


def status_table(status: Mapping[str, Any]) -> Table:
    """What `fleet status` shows."""
    table = Table(title=f"Fleet at {status['url']}", title_justify="left", box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for replica in status["replicas"]:
        phase = str(replica["phase"])
        style = _STYLES.get(phase, "red")
        table.add_row(
            str(replica["number"]),
            f"[{style}]{phase}[/{style}]",
            _span(float(replica["for_s"])),
            str(replica["running"]),
            str(replica["waiting"]),
            str(replica["answered"]),
            _percent(replica["cache_share"]),
            _percent(replica["prefix_share"]),
            str(replica["restarts"]),
            str(replica["url"]).rpartition(":")[2],
        )
    reasons = [f"{r['number']}: {r['reason']}" for r in status["replicas"] if r["reason"]]
    table.caption = "\n".join(reasons) or None
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
