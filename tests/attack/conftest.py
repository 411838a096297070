"""One service of two tenants for all attacks: none of them changes what it holds."""

from collections.abc import Iterator

import pytest

from assistant.models import Models
from tests.attack.tenants import Service, two_tenants


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Service]:
    with two_tenants(tmp_path_factory.mktemp("tenants"), models) as service:
        yield service
