"""deploy/kubernetes: the objects that kustomize renders are valid, with the numbers and names of the server."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

from nextchar_server import signals
from nextchar_server.settings.config import PACKAGED_MODEL, Config
from nextchar_server.versions.collector import ModelCollector
from tests.support.manifests import (
    COMPONENTS,
    KUBERNETES,
    PRODUCTION,
    Manifest,
    base_with,
    one,
    pod_of,
    rendered,
    server_of,
    settings_of,
)
from tests.support.pages import ROOT

VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest version that the manifests need, and the newest whose schemas are here."""

MIB = 2**20
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SINGLE = sorted(KUBERNETES.glob("*.yaml"))


@pytest.fixture(scope="module", params=["base", *COMPONENTS, "production"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The base, the base with one component, and the overlay with all."""
    if request.param == "production":
        return rendered(PRODUCTION)
    components = [] if request.param == "base" else [request.param]
    return base_with(tmp_path_factory.mktemp("kustomization"), *components)


@pytest.fixture(scope="module")
def production() -> list[Manifest]:
    return rendered(PRODUCTION)


@pytest.fixture
def config(objects: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    return settings_of(objects, tmp_path, monkeypatch)


def is_of_operator(manifest: Manifest) -> bool:
    return bool(manifest["apiVersion"].startswith("monitoring.coreos.com/"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_of_kubernetes_is_valid_and_has_no_unknown_field(objects: list[Manifest], version: str) -> None:
    for manifest in objects:
        if not is_of_operator(manifest):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.name)
def test_every_single_manifest_is_valid(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_every_object_of_the_prometheus_operator_is_valid_and_has_no_unknown_field(production: list[Manifest]) -> None:
    found = [manifest for manifest in production if is_of_operator(manifest)]
    for manifest in found:
        read = getattr(operator, manifest["kind"]).model_validate(manifest)
        assert read.model_dump(mode="json", by_alias=True, exclude_none=True) == manifest
    assert {manifest["kind"] for manifest in found} == {"ServiceMonitor", "PrometheusRule"}


def test_the_grace_period_is_above_the_lame_duck_the_drain_and_the_margin(
    objects: list[Manifest], config: Config
) -> None:
    needed = config.lame_duck + config.drain_timeout + signals.MARGIN
    assert pod_of(objects)["terminationGracePeriodSeconds"] > needed
    assert config.lame_duck > 0
    assert "lifecycle" not in server_of(objects), "the lame duck is there in place of a preStop hook"


def test_the_ports_are_those_of_the_server_and_the_services_name_them(objects: list[Manifest], config: Config) -> None:
    ports = {port["name"]: port["containerPort"] for port in server_of(objects)["ports"]}
    assert ports == {"grpc": config.grpc_port, "http": config.http_port}
    for name in ports:
        (port,) = one(objects, "Service", f"nextchar-{name}")["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (ports[name], name)
    assert re.findall(r"^EXPOSE (.*)", DOCKERFILE, re.MULTILINE) == [" ".join(map(str, ports.values()))]


def test_the_probes_speak_tls_if_the_server_does(objects: list[Manifest], config: Config) -> None:
    probes = {name: server_of(objects)[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe.get("scheme", "HTTP") for probe in probes.values()} == {"HTTPS" if config.tls_cert else "HTTP"}
    assert [probe["path"] for probe in probes.values()] == ["/readyz", "/readyz", "/healthz"]


def test_every_file_of_the_settings_lies_in_a_volume_that_is_mounted_read_only(
    objects: list[Manifest], config: Config
) -> None:
    mounted = {mount["mountPath"] for mount in server_of(objects)["volumeMounts"] if mount.get("readOnly")}
    files = [config.token_key_file, config.tls_cert, config.tls_key, config.auth_tokens_file]
    assert config.token_key_file is not None
    assert {str(file.parent) for file in files if file is not None} <= mounted
    assert config.models_dir is None or str(config.models_dir) in mounted


def test_the_user_is_the_images_and_the_container_can_gain_nothing(objects: list[Manifest]) -> None:
    context, inner = pod_of(objects)["securityContext"], server_of(objects)["securityContext"]
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.MULTILINE) == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner["readOnlyRootFilesystem"]
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert not inner["allowPrivilegeEscalation"]
    assert not pod_of(objects)["automountServiceAccountToken"]


def test_the_memory_limit_is_above_the_models_the_budget_and_the_cache(objects: list[Manifest], config: Config) -> None:
    limit = server_of(objects)["resources"]["limits"]["memory"]
    needed = PACKAGED_MODEL.stat().st_size / MIB + config.memory_budget + config.prefix_cache + 300
    assert limit == "1Gi"
    assert needed < 1024


def test_a_pod_has_a_lane_per_core_that_it_requests(objects: list[Manifest], config: Config) -> None:
    assert config.lanes == int(server_of(objects)["resources"]["requests"]["cpu"])


def test_the_image_has_the_version_of_the_project(objects: list[Manifest]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert server_of(objects)["image"] == f"nextchar-server:{version}"


def test_everything_that_selects_pods_selects_those_of_the_deployment_and_no_others(objects: list[Manifest]) -> None:
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(objects, kind)["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]
    selectors += [one(objects, "Service", f"nextchar-{port}")["spec"]["selector"] for port in ("grpc", "http")]
    selectors += [one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    assert selectors == [labels] * 5


def test_the_name_of_grpc_has_the_addresses_of_all_pods(objects: list[Manifest]) -> None:
    assert one(objects, "Service", "nextchar-grpc")["spec"]["clusterIP"] == "None"


def test_pods_reach_nobody_and_only_pods_with_a_label_reach_them(objects: list[Manifest]) -> None:
    spec = one(objects, "NetworkPolicy")["spec"]
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], [])
    (callers,) = spec["ingress"][0]["from"]
    assert callers["podSelector"]["matchLabels"] == {"nextchar-access": "true"}


def test_prometheus_scrapes_the_service_of_http_alone(production: list[Manifest]) -> None:
    spec = one(production, "ServiceMonitor")["spec"]
    services = [each for each in production if each["kind"] == "Service"]
    chosen = [
        each for each in services if spec["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert [each["metadata"]["name"] for each in chosen] == ["nextchar-http"]
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in chosen[0]["spec"]["ports"]]
    assert endpoint["scheme"] == "https"
    assert chosen[0]["metadata"]["labels"][spec["jobLabel"]] == "nextchar", "the job of deploy/prometheus"


def test_the_autoscaler_asks_for_a_metric_that_the_adapter_makes_of_the_servers(production: list[Manifest]) -> None:
    (metric,) = one(production, "HorizontalPodAutoscaler")["spec"]["metrics"]
    adapter = yaml.safe_load((KUBERNETES / "components" / "monitoring" / "adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    named = set(re.findall(r"\bnextchar_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert named <= {family.name for family in ModelCollector().collect()}
