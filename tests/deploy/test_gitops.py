"""Argo CD's and Flux's files agree with the overlays that they deliver, and with each other."""

from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.manifests import DEPLOY, OVERLAYS, Manifest, named, of_kind, overlay

GITOPS = DEPLOY / "gitops"
ENVIRONMENTS = {name.rpartition("/")[2]: name for name in OVERLAYS if name != "local"}
CLUSTER_WIDE = {"Namespace", "ValidatingPolicy"}


def read(path: Path) -> Manifest:
    loaded: Manifest = yaml.safe_load(path.read_text())
    return loaded


APPLICATIONS = {path.stem: read(path) for path in sorted((GITOPS / "argocd" / "apps").iterdir())}
PROJECT = read(GITOPS / "argocd" / "project.yaml")["spec"]


def wave(name: str) -> int:
    return int(APPLICATIONS[name]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])


def test_the_root_application_brings_the_others() -> None:
    source = read(GITOPS / "argocd" / "root.yaml")["spec"]["source"]
    assert ROOT / source["path"] == GITOPS / "argocd" / "apps"
    expected = {*ENVIRONMENTS, *(f"policies-{name}" for name in ENVIRONMENTS)}
    assert set(APPLICATIONS) == expected


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_application_delivers_its_overlay_where_its_project_allows(name: str) -> None:
    spec = APPLICATIONS[name]["spec"]
    assert spec["source"]["path"] == f"deploy/kubernetes/overlays/{ENVIRONMENTS[name]}"
    assert spec["source"]["repoURL"] in PROJECT["sourceRepos"]
    assert spec["destination"] in PROJECT["destinations"]
    [namespace] = of_kind(overlay(ENVIRONMENTS[name]), "Namespace")
    assert spec["destination"]["namespace"] == namespace["metadata"]["name"]


def test_the_project_allows_every_kind_that_is_delivered_and_forbids_secrets() -> None:
    allowed = {each["kind"] for each in PROJECT["clusterResourceWhitelist"]}
    forbidden = {each["kind"] for each in PROJECT["namespaceResourceBlacklist"]}
    assert allowed == CLUSTER_WIDE
    assert "Secret" in forbidden
    for name in ENVIRONMENTS.values():
        for manifest in overlay(name):
            assert manifest["kind"] not in forbidden
            namespaced = "namespace" in manifest["metadata"]
            assert namespaced or manifest["kind"] in allowed


def test_an_environment_follows_its_policies_and_the_one_it_is_promoted_from() -> None:
    order = ["staging", "eu-central-1", "us-east-1"]
    waves = [wave(each) for name in order for each in (f"policies-{name}", name)]
    assert waves == sorted(set(waves))
    # Waves wait for applications only where Argo CD is told how those are.
    health = read(GITOPS / "argocd" / "application-health.yaml")["data"]
    assert "resource.customizations.health.argoproj.io_Application" in health


def test_drift_is_undone_everywhere_and_only_a_person_removes_from_production() -> None:
    for name, application in APPLICATIONS.items():
        automated = application["spec"]["syncPolicy"]["automated"]
        assert automated["selfHeal"]
        production = name in {"eu-central-1", "us-east-1"}
        assert automated["prune"] is not production


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_flux_delivers_the_same_and_waits_until_it_is_healthy(name: str) -> None:
    spec = read(GITOPS / "flux" / f"{name}.yaml")["spec"]
    assert ROOT / spec["path"] == DEPLOY / "kubernetes" / "overlays" / ENVIRONMENTS[name]
    source = read(GITOPS / "flux" / "source.yaml")
    assert spec["sourceRef"] == {"kind": source["kind"], "name": source["metadata"]["name"]}
    [policies] = spec["dependsOn"]
    assert policies["name"] == read(GITOPS / "flux" / "policies.yaml")["metadata"]["name"]
    for check in spec["healthChecks"]:
        found = named(overlay(ENVIRONMENTS[name]), check["kind"], check["name"])
        assert found["metadata"]["namespace"] == check["namespace"]
        assert found["apiVersion"] == check["apiVersion"]


def test_flux_keeps_what_the_overlays_are_made_of() -> None:
    kept = read(GITOPS / "flux" / "source.yaml")["spec"]["ignore"].split()
    assert kept == ["/*", "!/deploy/kubernetes", "!/deploy/policies", "!/deploy/monitoring"]


def test_both_take_from_one_repository() -> None:
    addresses = {each["spec"]["source"]["repoURL"] for each in APPLICATIONS.values()}
    assert addresses == {read(GITOPS / "flux" / "source.yaml")["spec"]["url"]}
