"""The service with an environment's settings: it answers the probes, under the names it has there alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, serving
from tests.deploy.manifests import named, of_kind, overlay, settings_text

NAME = "production/eu-central-1"
POD = "10.12.0.7:8000"
"""Where the kubelet sends its probes: it says the address for a name."""


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, case_studies_index: Path
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("served")
    settings = settings_text(overlay(NAME)).replace("/usr/share/casebook", str(ROOT))
    settings = settings.replace("/var/lib/casebook/index", str(case_studies_index))
    settings = settings.replace("/var/lib/casebook", str(folder))
    settings = re.sub("(?m)^otlp_endpoint.*", "", settings)  # nobody is there
    (folder / "casebook.toml").write_text(settings.replace('"0.0.0.0"', '"127.0.0.1"'))
    with serving(folder) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def answered(service: httpx.Client, path: str, host: str) -> int:
    return service.get(path, headers={"Host": host}).status_code


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_are_answered_by_address(service: httpx.Client, probe: str) -> None:
    pod = named(overlay(NAME), "StatefulSet", "casebook")["spec"]["template"]["spec"]
    [server] = pod["containers"]
    assert answered(service, server[probe]["httpGet"]["path"], POD) == 200


@pytest.mark.slow
def test_it_is_reached_by_its_own_names_and_no_other(service: httpx.Client) -> None:
    [rule] = named(overlay(NAME), "Ingress", "casebook")["spec"]["rules"]
    namespace = named(overlay(NAME), "Service", "casebook")["metadata"]["namespace"]
    names = [rule["host"], "casebook", f"casebook.{namespace}", f"casebook.{namespace}.svc"]
    names.append(f"casebook.{namespace}.svc.cluster.local")
    assert {answered(service, "/health/ready", name) for name in names} == {200}
    assert answered(service, "/health/ready", "casebook.example.net") == 421


@pytest.mark.slow
def test_metrics_are_where_prometheus_looks_and_not_for_everyone(service: httpx.Client) -> None:
    [monitor] = of_kind(overlay(NAME), "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    assert "oauth2" in endpoint
    assert answered(service, endpoint["path"], POD) == 401


@pytest.mark.slow
def test_nobody_reads_without_signing_in(service: httpx.Client) -> None:
    found = service.get("/search", params={"q": "Kanister"}).json()
    assert found["hits"] == []
    assert not re.search("kanister", service.get("/documents").text, re.IGNORECASE)
