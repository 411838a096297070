"""Where snapshots are kept, and how many."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SnapshotSettings(BaseModel):
    """The section `[snapshots]`. Credentials are in none of it: docs/recovery.md says where they are looked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str = Field(default=".casebook/snapshots", description="a folder, or s3://bucket/prefix")
    keep: int = Field(default=7, ge=1, description="how many of the newest are kept")
    endpoint: str | None = Field(
        default=None, description="address of a store that is not Amazon's"
    )
    region: str | None = Field(default=None, description="region of the bucket")
    allow_http: bool = Field(
        default=False, description="let the endpoint be http: it is not encrypted"
    )

    @model_validator(mode="after")
    def _endpoint_is_encrypted(self) -> Self:
        if self.endpoint and self.endpoint.startswith("http:") and not self.allow_http:
            raise ValueError("the endpoint is http: give an https address, or set allow_http")
        if "://" in self.to and not self.to.startswith("s3://"):
            raise ValueError("`to` is a folder or s3://bucket/prefix")
        return self
