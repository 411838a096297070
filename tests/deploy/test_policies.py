"""Our manifests pass our policies, and each policy refuses what it is there to refuse."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, OVERLAYS, Manifest, named, of_kind, overlay, rendered
from tests.deploy.policies import exceptions, policies, refusals

POD = "spec.template.spec"
FIRST = f"{POD}.containers.0"
JOB = "spec.jobTemplate.spec.template.spec"
SAFE = f"{FIRST}.securityContext"
JOB_SAFE = f"{JOB}.containers.0.securityContext"
ENFORCED = "metadata.labels.pod-security;kubernetes;io/enforce"
SERVER = ("StatefulSet", "casebook")
SNAPSHOT = ("CronJob", "casebook-snapshot")
NAMESPACE = ("Namespace", "casebook")
NETWORK = ("NetworkPolicy", "https-outside")
GONE = object()
INTO_NODE = [{"name": "tmp", "hostPath": {"path": "/var/run"}}]
KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "casebook", "key": "github"}}}

BAD: list[tuple[str, tuple[str, str], str, Any]] = [
    # the policy that must refuse; what is changed; where; to what
    ("pods-are-restricted", SERVER, f"{POD}.hostNetwork", True),
    ("pods-are-restricted", SERVER, f"{POD}.hostPID", True),
    ("pods-are-restricted", SERVER, f"{POD}.hostIPC", True),
    ("pods-are-restricted", SERVER, f"{POD}.securityContext", GONE),
    ("pods-are-restricted", SERVER, f"{POD}.securityContext.runAsUser", 0),
    ("pods-are-restricted", SERVER, f"{POD}.securityContext.runAsUser", GONE),
    ("pods-are-restricted", SNAPSHOT, f"{JOB}.securityContext.runAsNonRoot", False),
    ("pods-are-restricted", SERVER, f"{SAFE}.runAsUser", 0),
    ("pods-are-restricted", SERVER, f"{SAFE}.runAsNonRoot", False),
    ("pods-are-restricted", SERVER, f"{POD}.securityContext.seccompProfile", GONE),
    ("pods-are-restricted", SERVER, f"{SAFE}.seccompProfile", {"type": "Unconfined"}),
    ("pods-are-restricted", SERVER, f"{SAFE}.capabilities", GONE),
    ("pods-are-restricted", SERVER, f"{SAFE}.capabilities.drop", GONE),
    ("pods-are-restricted", SERVER, f"{SAFE}.capabilities.drop", ["NET_RAW"]),
    ("pods-are-restricted", SERVER, f"{SAFE}.capabilities.add", ["NET_ADMIN"]),
    ("pods-are-restricted", SERVER, f"{SAFE}.allowPrivilegeEscalation", True),
    ("pods-are-restricted", SERVER, f"{SAFE}.privileged", True),
    ("pods-are-restricted", SERVER, f"{FIRST}.ports.0.hostPort", 8000),
    ("pods-are-restricted", SERVER, f"{POD}.volumes", INTO_NODE),
    ("roots-are-read-only", SERVER, f"{SAFE}.readOnlyRootFilesystem", False),
    ("roots-are-read-only", SNAPSHOT, f"{JOB_SAFE}.readOnlyRootFilesystem", GONE),
    ("images-are-pinned", SERVER, f"{FIRST}.image", "registry.example.com/platform/casebook:1.0"),
    ("images-are-pinned", SERVER, f"{FIRST}.image", "registry.example.com/platform/casebook:sha256"),
    ("images-are-pinned", SERVER, f"{FIRST}.image", "registry.example.com/platform/casebook@sha256:0"),
    ("images-are-pinned", SERVER, f"{FIRST}.image", "docker.io/casebook@sha256:" + "0" * 64),
    ("resources-are-bounded", SERVER, f"{FIRST}.resources", GONE),
    ("resources-are-bounded", SERVER, f"{FIRST}.resources.limits.memory", GONE),
    ("resources-are-bounded", SNAPSHOT, f"{JOB}.containers.0.resources.requests.cpu", GONE),
    ("resources-are-bounded", SERVER, f"{FIRST}.resources.limits.ephemeral-storage", GONE),
    ("secrets-are-files", SERVER, f"{FIRST}.env", [KEY]),
    ("secrets-are-files", SERVER, f"{FIRST}.envFrom", [{"secretRef": {"name": "casebook"}}]),
    ("secrets-are-files", SERVER, f"{POD}.volumes.2.secret.defaultMode", 0o444),
    ("secrets-are-files", SERVER, f"{POD}.volumes.2.secret.defaultMode", GONE),
    ("pods-know-no-cluster", SERVER, f"{POD}.automountServiceAccountToken", GONE),
    ("pods-know-no-cluster", SNAPSHOT, f"{JOB}.enableServiceLinks", GONE),
    ("servers-are-probed", SERVER, f"{FIRST}.readinessProbe", GONE),
    ("servers-are-probed", SERVER, f"{FIRST}.livenessProbe.httpGet.path", "/health/ready"),
    ("namespaces-are-restricted", NAMESPACE, ENFORCED, "baseline"),
    ("namespaces-are-restricted", NAMESPACE, ENFORCED, GONE),
    ("networks-are-closed", NETWORK, "spec.egress.0.to", GONE),
    ("networks-are-closed", NETWORK, "spec.egress.0.ports", []),
    ("networks-are-closed", NETWORK, "spec.egress.0.to.0.ipBlock.except", ["10.0.0.0/8"]),
    ("networks-are-closed", ("NetworkPolicy", "from-ingress"), "spec.ingress.0", {}),
    ("networks-are-closed", ("Service", "casebook"), "spec.type", "LoadBalancer"),
]  # fmt: skip


def changed(manifest: Manifest, path: str, value: Any) -> Manifest:
    """A copy with one thing set, or taken out; `;` stands for a dot within a name."""
    copy = deepcopy(manifest)
    *way, last = [
        int(step) if step.isdigit() else step.replace(";", ".") for step in path.split(".")
    ]
    place: Any = copy
    for step in way:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return copy


def namespace_of(manifests: list[Manifest]) -> Manifest:
    [namespace] = of_kind(manifests, "Namespace")
    return namespace


@pytest.mark.parametrize("name", OVERLAYS)
def test_manifests_pass_every_policy(name: str) -> None:
    namespace = namespace_of(overlay(name))
    for manifest in overlay(name):
        assert refusals(manifest, namespace) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize(
    ("policy", "which", "path", "value"),
    BAD,
    ids=[
        f"{policy}: {path} {'gone' if value is GONE else value!s:.30}"
        for policy, _, path, value in BAD
    ],
)
def test_a_bad_manifest_is_refused_by_the_policy_that_is_about_it(
    policy: str, which: tuple[str, str], path: str, value: Any
) -> None:
    manifests = overlay("production/eu-central-1")
    bad = changed(named(manifests, *which), path, value)
    refused = refusals(bad, namespace_of(manifests))
    assert {each.policy for each in refused} == {f"casebook-{policy}"}


def test_bare_pods_and_their_init_containers_are_judged_too() -> None:
    manifests = overlay("production/eu-central-1")
    template = named(manifests, *SERVER)["spec"]["template"]
    pod = deepcopy({"apiVersion": "v1", "kind": "Pod", **template})
    pod["metadata"]["namespace"] = "casebook"
    assert refusals(pod, namespace_of(manifests)) == []
    pod["spec"]["initContainers"] = [{"name": "bare", "image": "busybox"}]
    assert len({each.policy for each in refusals(pod, namespace_of(manifests))}) == 4


def test_every_validation_of_every_policy_refuses_something() -> None:
    manifests = overlay("production/eu-central-1")
    namespace = namespace_of(manifests)
    seen = {
        refusal.message
        for _, which, path, value in BAD
        for refusal in refusals(changed(named(manifests, *which), path, value), namespace)
    }
    stated = {each["message"] for policy in policies() for each in policy["spec"]["validations"]}
    assert stated == seen


def test_policies_deny_and_say_why() -> None:
    for policy in policies():
        assert policy["spec"]["validationActions"] == ["Deny"]
        assert policy["metadata"]["annotations"]["policies.kyverno.io/description"].strip()


def test_other_namespaces_are_not_judged() -> None:
    manifests = overlay("production/eu-central-1")
    bad = changed(named(manifests, *SERVER), f"{POD}.hostNetwork", True)
    other = {"metadata": {"name": "other", "labels": {}}}
    assert refusals(bad, other) == []


def test_exceptions_have_an_owner_and_a_reason() -> None:
    for exception in exceptions():
        told = exception["spec"]["properties"]
        assert told["owner"]
        assert len(told["reason"].split()) > 8, "say why, so that a reviewer can judge it"


def test_exceptions_have_not_ended_and_do_within_a_year() -> None:
    now = datetime.now(UTC)
    for exception in exceptions():
        ends = datetime.fromisoformat(exception["spec"]["expiresAt"])
        name = exception["metadata"]["name"]
        assert now < ends, f"the exception {name} has ended: remove it, or review and renew it"
        assert ends < now + timedelta(days=366), f"the exception {name} is for over a year"


def test_an_exception_that_has_ended_excepts_nothing() -> None:
    manifests = overlay("local")
    server = named(manifests, *SERVER)
    assert refusals(server, namespace_of(manifests)) == []
    later = datetime.fromisoformat(exceptions()[0]["spec"]["expiresAt"])
    refused = {each.policy for each in refusals(server, namespace_of(manifests), later)}
    assert refused == {"casebook-images-are-pinned"}


def test_an_exception_is_for_the_image_that_it_names_alone() -> None:
    manifests = overlay("local")
    other = changed(named(manifests, *SERVER), f"{FIRST}.image", "casebook:latest")
    assert refusals(other, namespace_of(manifests)) != []


def test_the_policies_are_those_that_kustomize_renders() -> None:
    stated = {yaml.dump(policy) for policy in policies()}
    assert {yaml.dump(each) for each in rendered(DEPLOY / "policies")} == stated
