"""Settings: `casebook.toml`, overridden by `CASEBOOK_…` variables, overridden by flags."""

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assistant.gateway.settings import GatewaySettings
from assistant.limits import Limits
from assistant.telemetry.settings import TelemetrySettings
from index.errors import InvalidInput
from index.recovery.settings import SnapshotSettings
from ingest.sources.settings import Entry

SETTINGS_FILE = Path("casebook.toml")
PREFIX = "CASEBOOK_"

CORPUS = Path("corpus")
RUNBOOKS = Path("docs/runbooks")
"""What is read where nothing is configured; runbooks where there are any, as a project keeps them."""


class Oidc(BaseModel):
    """Sign-in by tokens of an OpenID Connect issuer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    audience: str
    groups_claim: str = "groups"
    team_claim: str | None = Field(None, description="the claim that names a person's team")
    labels_by_group: dict[str, list[str]] | None = Field(
        None, description="labels of each group; without it a group is a label itself"
    )
    administrators: list[str] = Field([], description="groups whose members are administrators")


class Settings(BaseSettings):
    """Everything that can be set. Paths are relative to the folder the command runs in."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=SETTINGS_FILE, frozen=True, extra="forbid"
    )

    corpus: list[Path] | None = Field(
        None,
        description="files and folders to read [corpus and docs/runbooks, unless there are sources]",
    )
    sources: list[Entry] = Field([], description="sources by name: docs/sources.md")
    copies: Path = Field(Path(".casebook/sources"), description="what is kept of remote sources")
    keys: Path = Field(Path(".casebook/keys.sqlite"), description="the API keys, as hashes")
    oidc: Oidc | None = Field(None, description="the issuer whose tokens are accepted")
    gateway: GatewaySettings = Field(
        GatewaySettings(), description="language models: docs/gateway.md"
    )
    limits: Limits = Field(Limits(), description="what is done at once: docs/operations.md")
    telemetry: TelemetrySettings = Field(
        TelemetrySettings(), description="traces, metrics and logs: docs/telemetry.md"
    )
    snapshots: SnapshotSettings = Field(
        SnapshotSettings(), description="where snapshots are kept: docs/recovery.md"
    )
    index: Path = Field(Path(".casebook/index"), description="the folder of the index")
    embedder: str = Field("all-MiniLM-L6-v2", description="embedding model: packaged, path or name")
    reranker: str = Field("ms-marco-MiniLM-L-12-v2", description="cross-encoder, likewise")
    default_access: list[str] = Field(
        ["public"], description="labels of files under `corpus` that state none"
    )
    anonymous_access: list[str] = Field(
        ["public"], description="labels that a caller without a name may read"
    )
    host: str = Field("127.0.0.1", description="address that `casebook serve` listens on")
    hosts: list[str] = Field(
        [], description="names that the service is reached by, other than addresses and localhost"
    )
    port: int = Field(8000, ge=0, le=65535, description="port, 0 for any that is free")
    tls_certificate: Path | None = Field(
        None, description="file of the certificate chain to serve HTTPS with, read when it changes"
    )
    tls_key: Path | None = Field(None, description="file of its key, likewise")

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [source.name for source in self.sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two sources are called {', '.join(sorted(twice))}: rename one")
        return self

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("give both tls_certificate and tls_key, or neither")
        return self

    @property
    def corpus_paths(self) -> list[Path]:
        """The files and folders that are read beside the sources."""
        if self.corpus is not None:
            return self.corpus
        if self.sources:
            return []
        return [CORPUS, RUNBOOKS] if RUNBOOKS.is_dir() else [CORPUS]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is None counts as not given. Raises `InvalidInput`."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{SETTINGS_FILE} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise InvalidInput(
            f"setting {name!r} can't be used: {first['msg']} "
            f"(set in {SETTINGS_FILE}, as {PREFIX}{name.upper()} or by a flag)"
        ) from error
