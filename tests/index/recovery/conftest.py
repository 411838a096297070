"""An index with a snapshot, made once: tests copy it."""

from collections.abc import Iterator

import pytest

from assistant.models import Models
from index.recovery.settings import SnapshotSettings
from index.recovery.storage import FolderStorage, Storage, open_storage
from tests.conftest import World
from tests.index.recovery.kept import Kept, make_kept, s3_server


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Kept:
    return make_kept(World(tmp_path_factory.mktemp("kept"), models))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a real S3 server."""
    with s3_server() as (address, _):
        yield address


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment, as the server takes any."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """An empty folder, or an empty prefix of a bucket."""
    place = tmp_path_factory.mktemp("storage")
    if request.param == "folder":
        return FolderStorage(place)
    request.getfixturevalue("credentials")
    return open_storage(
        SnapshotSettings(
            to=f"s3://backups/{place.name}",
            endpoint=request.getfixturevalue("s3"),
            region="eu-central-1",
            allow_http=True,
        )
    )
