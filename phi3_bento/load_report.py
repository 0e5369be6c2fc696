"""What this process says of its load, for load balancers: work of the engine, never cache hits."""

import json
from dataclasses import dataclass

REQUEST_HEADER = "endpoint-load-metrics-format"
RESPONSE_HEADER = "endpoint-load-metrics"
"""ORCA's, as vLLM has them."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How much is being worked on at this moment."""

    running: int = 0
    """Requests that the engine works on or that wait for it; an answer from the cache is none."""
    waiting: int = 0
    """Those of them that have no first token yet."""
    in_flight: int = 0
    """All requests that are being answered, cache hits too."""

    def as_dict(self) -> dict[str, int]:
        """The body of `/load`; `server_load` is vLLM's name."""
        return {
            "server_load": self.running,
            "waiting": self.waiting,
            "in_flight": self.in_flight,
        }

    def orca(self, form: str | None) -> dict[str, str]:
        """The response header of a request that asks for `TEXT` or `JSON`; else none."""
        metrics = {
            "num_requests_running": float(self.running - self.waiting),
            "num_requests_waiting": float(self.waiting),
        }
        match (form or "").upper():
            case "TEXT":
                pairs = (f"named_metrics.{name}={value}" for name, value in metrics.items())
                return {RESPONSE_HEADER: f"TEXT {', '.join(pairs)}"}
            case "JSON":
                return {RESPONSE_HEADER: f"JSON {json.dumps({'named_metrics': metrics})}"}
            case _:
                return {}
