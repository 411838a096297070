"""Telemetry's part of the settings: `[telemetry]` in casebook.toml."""

from pathlib import Path

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, field_validator


class TelemetrySettings(BaseModel):
    """Where traces, metrics and logs are sent. `/metrics` is there without any of this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    otlp_endpoint: AnyHttpUrl | None = Field(
        default=None, description="base URL that takes OTLP over HTTP; nothing is sent without it"
    )
    headers_file: Path | None = Field(
        default=None,
        description="file of headers to send along, each on a line: `Authorization: …`",
    )
    sample: float = Field(
        default=1.0, ge=0, le=1, description="share of the requests that are traced"
    )
    content: bool = Field(
        default=False, description="whether questions and passages go into the traces that are sent"
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _no_secret_in_the_address(cls, value: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if value is not None and (value.username or value.password or value.query):
            raise ValueError("an address holds no credentials: put them into headers_file")
        return value
