"""The manifests: taken by Kubernetes' own schemas, and in agreement with the service and with each other."""

import json
import re
import tomllib

import kubernetes_validate
import pytest
from click.testing import CliRunner

from assistant.cli import main
from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    containers,
    labels_fit,
    named,
    of_kind,
    overlay,
    pod_selectors,
    pod_templates,
    settings_text,
)

VERSIONS = ("1.33", "1.37")
"""Kubernetes: the oldest whose fields the manifests use without a switch, and a recent one."""

CUSTOM = {
    ("external-secrets.io/v1", "ExternalSecret"): {"secretStoreRef", "target", "data"},
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {"selector", "endpoints"},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups"},
    ("security.istio.io/v1", "PeerAuthentication"): {"mtls"},
    ("security.istio.io/v1", "AuthorizationPolicy"): {"selector", "action", "rules"},
}
"""Kinds of other projects, for which no schema is installed: what their `spec` must hold."""

WRITTEN = "/var/lib/casebook"

ENVIRONMENTS = [name for name in OVERLAYS if name != "local"]

each_overlay = pytest.mark.parametrize("name", OVERLAYS)
each_environment = pytest.mark.parametrize("name", ENVIRONMENTS)


def understood(arguments: list[str]) -> bool:
    """Whether the command line has these commands and options: asked for help, it parses and does no more."""
    return CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_every_overlay_is_tested() -> None:
    folders = (DEPLOY / "kubernetes" / "overlays").rglob("kustomization.yaml")
    found = {str(each.parent.relative_to(DEPLOY / "kubernetes" / "overlays")) for each in folders}
    assert found - {"production/common"} == set(OVERLAYS)


@each_overlay
def test_kubernetes_takes_every_object(name: str) -> None:
    for manifest in overlay(name):
        kind = manifest["apiVersion"], manifest["kind"]
        if kind in CUSTOM:
            assert CUSTOM[kind] <= set(manifest["spec"]), manifest
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


@each_overlay
def test_ports_agree(name: str) -> None:
    manifests = overlay(name)
    port = tomllib.loads(settings_text(manifests))["port"]
    [server] = named(manifests, "StatefulSet", "casebook")["spec"]["template"]["spec"]["containers"]
    assert [(each["name"], each["containerPort"]) for each in server["ports"]] == [("http", port)]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["port"] == "http"
    for service in of_kind(manifests, "Service"):
        assert [(each["name"], each["targetPort"]) for each in service["spec"]["ports"]] == [
            ("http", "http")
        ]
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert {each["port"] for each in rule["ports"]} <= {"http", 15008}, policy
    for monitor in of_kind(manifests, "ServiceMonitor"):
        assert [each["port"] for each in monitor["spec"]["endpoints"]] == ["http"]
    for allowed in of_kind(manifests, "AuthorizationPolicy"):
        [rule] = allowed["spec"]["rules"]
        assert rule["to"] == [{"operation": {"ports": [str(port)]}}]


@each_overlay
def test_selectors_select_pods(name: str) -> None:
    pods = [each["metadata"]["labels"] for each in pod_templates(overlay(name))]
    for manifest in overlay(name):
        for selector in pod_selectors(manifest):
            assert any(labels_fit(selector, labels) for labels in pods), manifest


@each_overlay
def test_whatever_pods_mount_is_there(name: str) -> None:
    for pod in pod_templates(overlay(name)):
        volumes = {each["name"] for each in pod["spec"].get("volumes", [])}
        for container in containers(pod):
            mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
            assert set(mounted) <= volumes | {"data"}
            assert mounted["data"] == WRITTEN
            assert mounted["tmp"] == "/tmp"


@each_overlay
def test_pods_run_commands_that_there_are(name: str) -> None:
    for pod in pod_templates(overlay(name)):
        for container in containers(pod):
            if "command" not in container:
                assert understood(container["args"]), container["args"]
                continue
            assert container["command"] == ["/bin/sh", "-ec"]
            for command in re.findall(r"\bcasebook ([^|;&]+)", " ".join(container["args"])):
                assert understood(command.split()), command


@each_environment
def test_snapshots_are_of_the_volume_that_the_first_replica_has(name: str) -> None:
    replicas = named(overlay(name), "StatefulSet", "casebook")
    [claim] = replicas["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    job = named(overlay(name), "CronJob", "casebook-snapshot")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    first = f"{replicas['metadata']['name']}-0"
    [data] = [each for each in pod["volumes"] if each["name"] == "data"]
    assert data["persistentVolumeClaim"]["claimName"] == f"{claim['metadata']['name']}-{first}"
    [near] = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["topologyKey"] == "kubernetes.io/hostname"
    assert near["labelSelector"] == {"matchLabels": {"statefulset.kubernetes.io/pod-name": first}}


@each_overlay
def test_answers_under_way_are_let_end(name: str) -> None:
    pod = named(overlay(name), "StatefulSet", "casebook")["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause + 25


@each_overlay
def test_everything_is_denied_that_is_not_allowed(name: str) -> None:
    denied = named(overlay(name), "NetworkPolicy", "deny-all")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_regions_differ_in_nothing_but_their_name() -> None:
    def plain(region: str) -> list[str]:
        texts = [json.dumps(each) for each in overlay(f"production/{region}")]
        # An image is promoted region by region, and the name of the settings is a hash of them.
        varies = rf"{region}|sha256:[0-9a-f]{{64}}|casebook-[0-9a-z]{{10}}\b"
        return sorted(re.sub(varies, "…", text) for text in texts)

    assert plain("eu-central-1") == plain("us-east-1")


def test_staging_has_every_part_that_production_has() -> None:
    def parts(name: str) -> set[tuple[str, str]]:
        return {(each["kind"], shown(each)) for each in overlay(name)}

    def shown(manifest: Manifest) -> str:
        return (
            "" if manifest["kind"] in {"Namespace", "ConfigMap"} else manifest["metadata"]["name"]
        )

    assert parts("staging") == parts("production/eu-central-1")
