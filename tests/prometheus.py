"""A real Prometheus for the tests: Debian's, on a free port, reading the services under test."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import REPOSITORY, free_port, wait_for

RULES = REPOSITORY / "deploy" / "prometheus"
RATE_WINDOW = "15s"


@dataclass(frozen=True)
class Prometheus:
    """A server that reads services every second."""

    url: str

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The samples that a query gives now."""
        return self._get("query", query=promql)["result"]  # type: ignore[no-any-return]

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """What is read."""
        return self._get("targets")["activeTargets"]  # type: ignore[no-any-return]

    def _get(self, what: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, str | None]) -> Iterator[Prometheus]:
    """Reads `targets`, each a service's address with its key; with the rules of deploy/."""
    port = free_port()
    (directory / "prometheus.yml").write_text(_configuration(targets))
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Prometheus(f"http://127.0.0.1:{port}")
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"})
        try:
            wait_for(lambda: _is_ready(server.url), f"Prometheus is ready, see {log.name}")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def dashboard_queries() -> dict[str, str]:
    """The dashboard's queries as Grafana sends them, by panel and legend."""
    dashboard = json.loads((REPOSITORY / "deploy" / "grafana" / "phi3-bento.json").read_text())
    return {
        f"{panel['title']}: {target['legendFormat']}": _filled(target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }


def _filled(query: str) -> str:
    values = {"$job": ".*", "$instance": ".*", "$__rate_interval": RATE_WINDOW}
    for name, value in values.items():
        query = query.replace(name, value)
    assert not re.search(r"\$\w", query), query
    return query


def _configuration(targets: Mapping[str, str | None]) -> str:
    """As deploy/prometheus/prometheus.yml, more often, and of `targets`."""
    text = (RULES / "prometheus.yml").read_text()
    text = re.sub(r"(scrape|evaluation)_interval: \w+", r"\1_interval: 1s", text)
    text = text.replace("- rules.yml", f"- {RULES / 'rules.yml'}")
    jobs, _, job = text.partition("scrape_configs:\n")
    configurations = []
    for number, (address, key) in enumerate(targets.items()):
        one = job.replace("127.0.0.1:11403", address.removeprefix("http://"))
        if number:
            one = one.replace("job_name: phi3-bento", f"job_name: phi3-bento-{number + 1}")
        if key is not None:
            one = re.sub(r"# (authorization:)", r"\1", one)
            one = re.sub(r"#   credentials_file: .*", f"  credentials: {key}", one)
        configurations.append(one)
    return f"{jobs}scrape_configs:\n{''.join(configurations)}"


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False
