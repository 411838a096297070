"""Kyverno's ValidatingPolicy in small: which objects it is for, and its CEL expressions evaluated."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import celpy
import yaml
from celpy import celtypes
from celpy.adapter import json_to_cel

from tests.deploy.manifests import DEPLOY, Manifest

PLURALS = {"NetworkPolicy": "networkpolicies"}
POLICIES = DEPLOY / "policies"


@dataclass(frozen=True)
class Refusal:
    policy: str
    message: str


@cache
def _program(expression: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression))


def holds(expression: str, manifest: Manifest, variables: dict[str, str] | None = None) -> bool:
    """Whether an expression is true of an object; an error in it is raised, as Kyverno would deny."""
    given: dict[str, Any] = {"object": json_to_cel(manifest), "variables": celtypes.MapType()}
    for name, text in (variables or {}).items():
        given["variables"][celtypes.StringType(name)] = _program(text).evaluate(given)
    result = _program(expression).evaluate(given)
    assert isinstance(result, celtypes.BoolType), (expression, result)
    return bool(result)


@cache
def policies() -> list[Manifest]:
    listed = yaml.safe_load((POLICIES / "kustomization.yaml").read_text())["resources"]
    return [yaml.safe_load((POLICIES / name).read_text()) for name in listed]


@cache
def exceptions() -> list[Manifest]:
    files = sorted((POLICIES / "exceptions").glob("*.yaml"))
    return [yaml.safe_load(each.read_text()) for each in files]


def is_for(policy: Manifest, manifest: Manifest, namespace: Manifest) -> bool:
    """Whether a policy's `matchConstraints` take an object of this namespace in."""
    constraints = policy["spec"]["matchConstraints"]
    wanted = constraints.get("namespaceSelector", {}).get("matchLabels", {}).items()
    if not wanted <= namespace["metadata"]["labels"].items():
        return False
    wanted = constraints.get("objectSelector", {}).get("matchLabels", {}).items()
    if not wanted <= manifest["metadata"].get("labels", {}).items():
        return False
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = manifest["kind"]
    return any(
        group in rule["apiGroups"]
        and version in rule["apiVersions"]
        and PLURALS.get(kind, f"{kind.lower()}s") in rule["resources"]
        for rule in constraints["resourceRules"]
    )


def excepted(policy: Manifest, manifest: Manifest, now: datetime) -> bool:
    """Whether an exception that has not ended says that a policy is not for this object."""
    return any(
        {"name": policy["metadata"]["name"], "kind": policy["kind"]} in each["spec"]["policyRefs"]
        and now < datetime.fromisoformat(each["spec"]["expiresAt"])
        and all(holds(one["expression"], manifest) for one in each["spec"]["matchConditions"])
        for each in exceptions()
    )


def refusals(manifest: Manifest, namespace: Manifest, now: datetime | None = None) -> list[Refusal]:
    """Every policy that would refuse an object, and in which words."""
    found = []
    for policy in policies():
        if not is_for(policy, manifest, namespace):
            continue
        if excepted(policy, manifest, now or datetime.now(UTC)):
            continue
        given = policy["spec"].get("variables", [])
        variables = {each["name"]: each["expression"] for each in given}
        found += [
            Refusal(policy["metadata"]["name"], each["message"])
            for each in policy["spec"]["validations"]
            if not holds(each["expression"], manifest, variables)
        ]
    return found
