"""The manifests in deploy/kubernetes: valid by Kubernetes' own schemas, and true to each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry
from vllm_router.launch_router import parse_router_args

from phi3_bento.fleet.layout import Layout
from phi3_bento.fleet.router import router_command
from phi3_bento.knobs.defaults import DEFAULT_PORT
from phi3_bento.settings import Settings
from phi3_bento.usage.metrics import Metrics
from tests.support import REPOSITORY

DIRECTORY = REPOSITORY / "deploy" / "kubernetes"
VERSIONS = ("1.32", "1.35")
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((DIRECTORY / name).read_text())
]
SETTINGS = {f"PHI3_{name.upper()}" for name in Settings.model_fields}


def of_kind(kind: str) -> Iterator[dict[str, Any]]:
    return (each for each in OBJECTS if each["kind"] == kind)


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in of_kind(kind) if each["metadata"]["name"] == name)
    return found


def pods_with(labels: dict[str, str]) -> dict[str, Any]:
    """The one Deployment whose pods have these labels."""
    (found,) = (
        each
        for each in of_kind("Deployment")
        if labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    )
    return found


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def port_names(deployment: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}


DEPLOYMENTS = [named("Deployment", name) for name in ("phi3-bento", "phi3-router")]
REPLICAS, ROUTER = DEPLOYMENTS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_every_object_is_what_kubernetes_expects(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_every_file_is_taken() -> None:
    files = {path.name for path in DIRECTORY.glob("*.yaml")}
    assert files - set(KUSTOMIZATION["resources"]) == {"kustomization.yaml", "adapter-values.yaml"}


def test_services_lead_to_ports_of_pods() -> None:
    for service in of_kind("Service"):
        pods = pods_with(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert port_names(pods)[port["targetPort"]] == port["port"]


def test_everything_that_chooses_pods_finds_some() -> None:
    for deployment in DEPLOYMENTS:
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert pods_with(labels) is deployment
    for budget in of_kind("PodDisruptionBudget"):
        pods_with(budget["spec"]["selector"]["matchLabels"])
    for policy in of_kind("NetworkPolicy"):
        if chosen := policy["spec"]["podSelector"]:
            pods = pods_with(chosen["matchLabels"])
            opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
            assert opened == set(port_names(pods).values())


def test_the_ingress_lets_in_what_clients_need_and_no_administration() -> None:
    (ingress,) = of_kind("Ingress")
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert all(path["pathType"] == "Exact" for path in paths)
    routed = {}
    for path in paths:
        backend = path["backend"]["service"]
        service = named("Service", backend["name"])
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
        routed[path["path"]] = backend["name"]
    to_router = {path for path, name in routed.items() if name == "phi3-router"}
    assert to_router == {"/v1/chat/completions", "/v1/completions", "/v1/models"}
    assert "/generate" in routed
    assert not any(path.startswith(("/admin", "/metrics", "/worker")) for path in routed)


def test_the_router_may_see_pods_and_nothing_else() -> None:
    (role,) = of_kind("Role")
    (binding,) = of_kind("RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert subject["namespace"] == KUSTOMIZATION["namespace"]
    named("ServiceAccount", subject["name"])
    assert ROUTER["spec"]["template"]["spec"]["serviceAccountName"] == subject["name"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert REPLICAS["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_the_router_has_the_options_of_a_fleet() -> None:
    """By vllm-router's own parser."""
    given = parse_router_args(container(ROUTER)["command"][3:])
    layout = Layout(given.port, Path(), (), 2)
    own = router_command(layout, "cache_aware", [], origins=["x"], max_body=2**20)
    fleets = parse_router_args(own[3:])
    same = ("policy", "balance_abs_threshold", "disable_circuit_breaker", "retry_max_retries")
    for name in (*same, "retry_initial_backoff_ms", "max_payload_size", "request_timeout_secs"):
        assert getattr(given, name) == getattr(fleets, name), name
    pods_with(given.selector)
    assert given.selector == REPLICAS["spec"]["selector"]["matchLabels"]
    assert given.service_discovery_port == port_names(REPLICAS)["http"] == DEFAULT_PORT
    assert given.service_discovery_namespace == KUSTOMIZATION["namespace"]
    assert given.prometheus_port == port_names(ROUTER)["metrics"]


def test_pods_run_without_rights() -> None:
    for deployment in DEPLOYMENTS:
        pod, only = deployment["spec"]["template"]["spec"], container(deployment)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert volumes == {mount["name"] for mount in only["volumeMounts"]}
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= only.keys()
        assert only["image"] == KUSTOMIZATION["images"][0]["name"]


def test_a_replica_has_two_cores_and_8_gib() -> None:
    share = {"cpu": "2", "memory": "8Gi"}
    assert container(REPLICAS)["resources"] == {"requests": share, "limits": share}


def test_a_pod_is_given_the_time_that_the_service_takes_to_end() -> None:
    pod, only = REPLICAS["spec"]["template"]["spec"], container(REPLICAS)
    pause = only["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > Settings().drain_limit_s + pause + 10


def test_settings_are_settings() -> None:
    secret = named("Secret", container(REPLICAS)["envFrom"][0]["secretRef"]["name"])
    names = {variable["name"] for variable in container(REPLICAS)["env"]}
    assert names | secret["stringData"].keys() <= SETTINGS


def test_the_secret_is_none_yet() -> None:
    """A deployment that was not thought about must not start with a secret that all know."""
    (secret,) = of_kind("Secret")
    for name in ("PHI3_SECRET", "PHI3_API_KEY"):
        field = Settings.model_fields[name.removeprefix("PHI3_").lower()]
        least = next(each.min_length for each in field.metadata if hasattr(each, "min_length"))
        assert len(secret["stringData"][name]) < least


def test_the_autoscaler_reads_metrics_that_exist() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == REPLICAS["metadata"]["name"]
    assert "replicas" not in REPLICAS["spec"]
    registry = CollectorRegistry()
    Metrics(registry)
    ours = {family.name for family in registry.collect()}
    queue, slow = scaler["spec"]["metrics"]
    rules = yaml.safe_load((DIRECTORY / "adapter-values.yaml").read_text())["rules"]
    assert queue["pods"]["metric"]["name"] == rules["custom"][0]["name"]["matches"]
    assert queue["pods"]["metric"]["name"] in ours
    assert slow["external"]["metric"]["name"] == rules["external"][0]["name"]["as"]
    recorded = (REPOSITORY / "deploy" / "prometheus" / "rules.yml").read_text()
    assert f"record: {rules['external'][0]['seriesQuery']}" in recorded
