"""What a Grafana dashboard is made of: rows of panels, and queries on the metrics of phi3-bento."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OBJECTIVE_S = 0.3
WIDTH = 24
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A graph, or with `is_number` the latest value; `steps` colour values from each limit up."""

    title: str
    unit: str
    queries: dict[str, str]
    """PromQL by legend."""
    is_number: bool = False
    steps: list[tuple[float | None, str]] = field(default_factory=list)
    note: str = ""
    is_stacked: bool = False


def of(name: str, **labels: str) -> str:
    """The selector of a family, on the replicas that the dashboard shows."""
    chosen = [f'{label}="{value}"' for label, value in labels.items()]
    matchers = ", ".join(['job=~"$job"', 'instance=~"$instance"', *chosen])
    return f"{name}{{{matchers}}}"


def quantile(share: float, name: str, by: str = "", window: str = RATE) -> str:
    """Of a histogram, over all replicas."""
    labels = f"le, {by}" if by else "le"
    rate = f"rate({of(f'{name}_bucket')}{window})"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate}))"


def rate(name: str, by: str = "", window: str = RATE, **labels: str) -> str:
    """Of a counter, over all replicas."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({of(name, **labels)}{window}))"


def dashboard(rows: Mapping[str, Sequence[Panel]]) -> dict[str, Any]:
    """The whole, as Grafana reads it; a row's panels are as wide as its first."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in rows.items():
        panels.append(_row(title, y, len(panels) + 1))
        y += 1
        width = 4 if row[0].is_number else 8
        height = 5 if row[0].is_number else 8
        for index, panel in enumerate(row):
            x = index * width % WIDTH
            place = {"x": x, "y": y + index * width // WIDTH * height, "w": width, "h": height}
            panels.append(_panel(panel, place, len(panels) + 1))
        y += -(-len(row) * width // WIDTH) * height
    return {
        "uid": "phi3-bento",
        "title": "phi3-bento",
        "description": "Two promises, whether they are kept, and why not. docs/monitoring.md",
        "tags": ["phi3-bento", "vllm", "bentoml"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        _variable("job", "label_values(phi3_build_info, job)"),
        _variable("instance", 'label_values(phi3_build_info{job=~"$job"}, instance)'),
    ]


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _row(title: str, y: int, number: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}


def _panel(panel: Panel, place: dict[str, int], number: int) -> dict[str, Any]:
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    defaults: dict[str, Any] = {"unit": panel.unit}
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.is_number:
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
    else:
        options = {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}}
        line = {"mode": "line" if steps else "off"}
        stacking = {"mode": "normal" if panel.is_stacked else "none"}
        filled = 20 if panel.is_stacked else 0
        defaults["min"] = 0
        defaults["custom"] = {
            "thresholdsStyle": line, "stacking": stacking, "fillOpacity": filled
        }  # fmt: skip
    return {
        "id": number,
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.note,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query,
             "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }  # fmt: skip
