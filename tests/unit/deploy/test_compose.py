"""deploy/compose.yaml: valid by the Compose specification, and true to what it mounts and names."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from vllm_router.launch_router import parse_router_args

from phi3_bento.knobs.defaults import DEFAULT_PORT
from phi3_bento.settings import Settings
from tests.support import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
EXAMPLE = DEPLOY / "compose.env.example"


def test_it_is_what_compose_expects() -> None:
    """With its anchors resolved: the parser knows no merge keys, which Compose does."""
    compose = PyCompose.from_yaml(yaml.safe_dump(COMPOSE))
    compose.validate()
    assert set(compose.service_names()) == set(SERVICES)
    with pytest.raises(ValueError, match="nonsense"):
        PyCompose.from_yaml(yaml.safe_dump({"services": {"a": {"image": "b", "nonsense": 1}}}))


def test_all_parts_are_there() -> None:
    assert {"router", "replica-1", "replica-2", "postgresql", "prometheus", "grafana"} <= set(
        SERVICES
    )
    assert SERVICES["postgresql"]["image"].startswith("pgvector/pgvector:")


def test_what_a_service_waits_for_exists_and_says_when_it_is_well() -> None:
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            awaited = SERVICES[name]
            if condition["condition"] == "service_healthy" and "phi3-bento" not in awaited["image"]:
                assert "healthcheck" in awaited


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]


def test_every_replica_has_settings_that_exist_and_a_volume_of_its_own() -> None:
    known = {f"PHI3_{name.upper()}" for name in Settings.model_fields}
    replicas = [SERVICES["replica-1"], SERVICES["replica-2"]]
    for replica in replicas:
        assert replica["environment"].keys() <= known
        assert replica["deploy"]["resources"]["limits"] == {"cpus": "2", "memory": "8g"}
        assert replica["read_only"] is True
    assert replicas[0]["volumes"] != replicas[1]["volumes"]


def test_secrets_are_asked_for_and_never_given() -> None:
    asked = set(re.findall(r"\$\{([A-Z0-9_]+):\?", FILE.read_text()))
    example = dict(line.split("=", 1) for line in EXAMPLE.read_text().splitlines() if "=" in line)
    assert asked == example.keys()
    assert all(not value.partition("#")[0].strip() for value in example.values())
    ignored = subprocess.run(["git", "check-ignore", "-q", DEPLOY / "compose.env"], check=False)
    assert ignored.returncode == 0


def test_only_this_machine_reaches_a_port() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert [name for name, each in SERVICES.items() if f":{DEFAULT_PORT}:" in str(each)] == [
        "gateway"
    ]


def test_the_router_takes_its_options() -> None:
    given = parse_router_args(SERVICES["router"]["command"][3:])
    assert given.disable_circuit_breaker
    assert given.worker_urls == [
        f"http://{name}:{DEFAULT_PORT}" for name in ("replica-1", "replica-2")
    ]


def test_the_gateway_lets_in_no_administration() -> None:
    text = (DEPLOY / "gateway" / "nginx.conf").read_text()
    allowed = [re.compile(path) for path in re.findall(r"location ~ (\S+) \{", text)]
    for path in ("/add_worker", "/workers", "/list_workers", "/metrics", "/admin/usage", "/load"):
        assert not any(pattern.search(path) for pattern in allowed), path
    for path in ("/v1/chat/completions", "/classify", "/generate_stream", "/tokenize"):
        assert any(pattern.search(path) for pattern in allowed), path
    assert "location / { return 404; }" in text


def has_docker_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and not subprocess.call(
        [docker, "compose", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.skipif(not has_docker_compose(), reason="there is no Docker Compose here")
def test_docker_compose_reads_it() -> None:
    values = dict.fromkeys(("PHI3_API_KEY", "PHI3_SECRET", "POSTGRES_PASSWORD"), "x" * 40)
    command = ["docker", "compose", "-f", str(FILE), "config", "--quiet"]
    env = {**values, "GRAFANA_PASSWORD": "x", "PATH": "/usr/bin:/usr/local/bin:/bin"}
    subprocess.run(command, check=True, env=env)


def test_prometheus_reads_its_configuration() -> None:
    command = ["promtool", "check", "config", str(DEPLOY / "prometheus" / "compose.yml")]
    subprocess.run(command, check=True, capture_output=True)
