"""One service that everything has happened to, and all that it told of itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.assistant.telemetry.exposed import Series, Service, drive, series, service
from tests.assistant.telemetry.receiver import Receiver, receiving

HEADER_KEY = "receiver-key-4711-not-to-be-seen"


@dataclass
class Driven:
    """A service that was driven, what it has sent, and its metrics as they were read."""

    service: Service
    receiver: Receiver
    expositions: list[str]

    @property
    def series(self) -> Series:
        return series(*self.expositions)


@pytest.fixture(scope="session")
def driven(case_studies_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    folder = tmp_path_factory.mktemp("telemetry")
    headers = folder / "headers"
    headers.write_text(f"Authorization: Bearer {HEADER_KEY}\nX-Tenant: zoo\n")
    headers.chmod(0o600)
    with receiving() as receiver:
        telemetry = {"otlp_endpoint": receiver.address, "headers_file": str(headers)}
        own = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
        with service(folder / "service", case_studies_index, telemetry, **own) as running:
            expositions = drive(running)
            receiver.wait_for(lambda got: any(span.name == "ingest" for span in got.spans()))
            receiver.wait_for(lambda got: "casebook.questions" in got.metrics())
            yield Driven(running, receiver, expositions)
