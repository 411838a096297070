"""Settings: `casebook.toml`, overridden by `CASEBOOK_…` variables, overridden by flags."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from index.errors import InvalidInput

SETTINGS_FILE = Path("casebook.toml")
PREFIX = "CASEBOOK_"


class Settings(BaseSettings):
    """Everything that can be set. Paths are relative to the folder the command runs in."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=SETTINGS_FILE, frozen=True, extra="forbid"
    )

    corpus: list[Path] = Field([Path("corpus")], description="what `casebook ingest` reads")
    index: Path = Field(Path(".casebook/index"), description="the folder of the index")
    embedder: str = Field("all-MiniLM-L6-v2", description="embedding model: packaged, path or name")
    reranker: str = Field("ms-marco-MiniLM-L-12-v2", description="cross-encoder, likewise")
    default_access: list[str] = Field(
        ["public"], description="labels of a document that states none"
    )
    anonymous_access: list[str] = Field(
        ["public"], description="labels that a caller without a name may read"
    )
    host: str = Field("127.0.0.1", description="address that `casebook serve` listens on")
    port: int = Field(8000, ge=0, le=65535, description="port, 0 for any that is free")

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
