"""The casebook.toml of each overlay: read as the service reads it, and in agreement with what is around it."""

import re
from pathlib import Path
from typing import Any

import pytest

from assistant.settings import Settings, load_settings
from index.errors import InvalidInput
from tests.deploy.manifests import DEPLOY, OVERLAYS, named, overlay, settings_text

WRITTEN = Path("/var/lib/casebook")
READ = (Path("/run/secrets/casebook"), Path("/usr/share/casebook"))

ENVIRONMENTS = [name for name in OVERLAYS if name != "local"]

each_overlay = pytest.mark.parametrize("name", OVERLAYS)
each_environment = pytest.mark.parametrize("name", ENVIRONMENTS)


def settings_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The overlay's settings, read as the service reads them."""
    (folder / "casebook.toml").write_text(settings_text(overlay(name)))
    monkeypatch.chdir(folder)
    return load_settings()


def paths_in(value: Any) -> list[Path]:
    if isinstance(value, Path):
        return [value]
    if isinstance(value, dict):
        return [path for each in value.values() for path in paths_in(each)]
    if isinstance(value, list):
        return [path for each in value for path in paths_in(each)]
    return []


@each_overlay
def test_settings_are_those_of_the_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, tmp_path, monkeypatch)
    assert settings.host == "0.0.0.0"
    for path in paths_in(settings.model_dump()):
        assert path.is_relative_to(WRITTEN) or any(map(path.is_relative_to, READ)), path
    for written in (settings.index, settings.keys, settings.copies, settings.gateway.ledger):
        assert written.is_relative_to(WRITTEN)
    assert settings.anonymous_access == []
    where = settings.snapshots.to
    assert where.startswith("s3://") or Path(where).is_relative_to(WRITTEN)


@each_environment
def test_secrets_that_the_settings_name_are_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, tmp_path, monkeypatch)
    secret = named(overlay(name), "ExternalSecret", "casebook")["spec"]
    fetched = {READ[0] / each["secretKey"] for each in secret["data"]}
    read = {path for path in paths_in(settings.model_dump()) if path.is_relative_to(READ[0])}
    assert read == fetched


@each_environment
def test_sign_in_does_not_depend_on_the_replica(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(name, tmp_path, monkeypatch).oidc


@each_environment
def test_snapshots_go_to_the_bucket_that_terraform_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = re.search(
        r'bucket = "(casebook-snapshots-)\$', (DEPLOY / "terraform/main.tf").read_text()
    )
    assert made
    settings = settings_of(name, tmp_path, monkeypatch)
    assert settings.snapshots.to == f"s3://{made[1]}{name.rpartition('/')[2]}/index"
    account = named(overlay(name), "ServiceAccount", "casebook")["metadata"]["annotations"]
    assert account["eks.amazonaws.com/role-arn"].endswith(
        f"role/casebook-{name.rpartition('/')[2]}"
    )


@each_environment
def test_telemetry_goes_where_the_network_policy_lets_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, tmp_path, monkeypatch)
    [rule] = named(overlay(name), "NetworkPolicy", "to-collector")["spec"]["egress"]
    assert settings.telemetry.otlp_endpoint
    assert rule["ports"] == [{"protocol": "TCP", "port": settings.telemetry.otlp_endpoint.port}]


@each_environment
def test_models_are_asked_where_the_network_policy_lets_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [model] = settings_of(name, tmp_path, monkeypatch).gateway.models
    [rule] = named(overlay(name), "NetworkPolicy", "to-model-gateway")["spec"]["egress"]
    assert model.address
    assert rule["ports"] == [{"protocol": "TCP", "port": model.address.port}]
    [place] = rule["to"]
    space = place["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert f".{space}." in str(model.address.host)


def test_service_links_would_be_taken_for_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_PORT", "tcp://10.96.0.10:80")
    with pytest.raises(InvalidInput, match="port"):
        load_settings()
