"""The manifests as Kustomize renders them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
OVERLAYS = ("local", "staging", "production/eu-central-1", "production/us-east-1")

OLDEST = (1, 24)
"""kubectl 1.20, Debian 12's, knows no components; `labels` that go into templates came with 1.24's Kustomize 4.5."""

Manifest = dict[str, Any]


@cache
def rendered(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k` would send; treat it as read-only."""
    done = subprocess.run(
        [_kubectl(), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def _kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not here: .ci/tools gets Debian's kubernetes-client where it can")
    told = subprocess.run(
        [found, "version", "--client", "--output=json"], capture_output=True, text=True, check=True
    )
    version = json.loads(told.stdout)["clientVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < OLDEST:
        pytest.skip(f"kubectl {version['gitVersion']} is too old, as Debian 12's is: 1.24 or later")
    return found


def overlay(name: str) -> list[Manifest]:
    return rendered(DEPLOY / "kubernetes" / "overlays" / name)


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    return found


def settings_text(manifests: list[Manifest]) -> str:
    """The casebook.toml that the service is given."""
    configs = [each["data"] for each in of_kind(manifests, "ConfigMap")]
    [text] = [data["casebook.toml"] for data in configs if "casebook.toml" in data]
    return str(text)


def pod_templates(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The templates of everything that makes pods."""
    for each in manifests:
        if each["kind"] == "CronJob":
            yield each["spec"]["jobTemplate"]["spec"]["template"]
        elif "template" in each.get("spec", {}):
            yield each["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def labels_fit(selector: Manifest, labels: Manifest) -> bool:
    """Whether a label selector, of which only matchLabels is used here, selects these labels."""
    assert set(selector) <= {"matchLabels"}, selector
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def pod_selectors(manifest: Manifest) -> Iterator[Manifest]:
    """Every selector in a manifest that is about our own pods."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Service":
            yield {"matchLabels": spec["selector"]}
        case "NetworkPolicy":
            yield spec["podSelector"]
        case "PodDisruptionBudget" | "StatefulSet" | "AuthorizationPolicy":
            yield spec["selector"]
