"""Where snapshots are kept: a folder and a bucket behave alike, and say what is wrong."""

import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from index.recovery.bucket import CredentialsFile, cause_of, credentials_file
from index.recovery.errors import SnapshotDamaged, SnapshotsUnavailable
from index.recovery.settings import SnapshotSettings
from index.recovery.storage import Storage, open_storage
from tests.index.recovery.kept import s3_server


def test_what_is_stored_is_read_listed_and_deleted(storage: Storage, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 80_000)  # 20 MB: more than a part
    storage.write("a/large", large)
    storage.write("a/small", b"few bytes")
    assert storage.sizes() == {"a/large": 20_480_000, "a/small": 9}
    assert b"".join(storage.read("a/large")) == large.read_bytes()
    storage.write("a/small", b"others")
    assert b"".join(storage.read("a/small")) == b"others"
    storage.delete(["a/large", "a/small", "a/never"])
    assert storage.sizes() == {}


def test_name_that_is_not_there_is_damage(storage: Storage) -> None:
    with pytest.raises(SnapshotDamaged, match="a/none"):
        list(storage.read("a/none"))


def test_place_that_was_never_used_is_empty(storage: Storage) -> None:
    assert storage.sizes() == {}


def test_store_that_is_away_is_named_with_the_remedy(credentials: None) -> None:
    settings = SnapshotSettings(
        to="s3://backups/x", endpoint="http://127.0.0.1:9", region="r", allow_http=True
    )
    began = time.monotonic()
    with pytest.raises(SnapshotsUnavailable, match=r"s3://backups/x.*\[snapshots\]") as caught:
        open_storage(settings).sizes()
    assert time.monotonic() - began < 60
    assert "secret" not in str(caught.value)


def test_bucket_that_is_not_there_is_named(s3: str, credentials: None, tmp_path: Path) -> None:
    settings = SnapshotSettings(to="s3://absent/x", endpoint=s3, region="r", allow_http=True)
    storage = open_storage(settings)
    for ask in (
        storage.sizes,
        lambda: list(storage.read("a/b")),
        lambda: storage.write("a/b", b"c"),
    ):
        with pytest.raises(SnapshotsUnavailable, match=r"absent.*NoSuchBucket"):
            ask()


def test_store_that_dies_while_it_is_asked_is_named(credentials: None, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 8_000_000)
    with s3_server() as (address, process):
        settings = SnapshotSettings(
            to="s3://backups", endpoint=address, region="r", allow_http=True
        )
        storage = open_storage(settings)
        storage.write("a/large", large)
        pieces = storage.read("a/large")
        next(pieces)
        process.kill()
        with pytest.raises(SnapshotsUnavailable, match="a/large"):
            list(pieces)


def test_keys_come_from_a_file_where_the_environment_names_it(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "casebook"}
    found = credentials_file(named)
    assert isinstance(found, CredentialsFile)
    with pytest.raises(SnapshotsUnavailable, match="aws_secret_access_key"):
        found()
    path.write_text("[casebook]\naws_access_key_id = k\naws_secret_access_key = one%two\n")
    assert found()["secret_access_key"] == "one%two"
    path.write_text("[casebook]\naws_access_key_id = k\naws_secret_access_key = other\n")
    assert found()["secret_access_key"] == "other"
    assert credentials_file({**named, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}) is None
    assert credentials_file({**named, "AWS_ACCESS_KEY_ID": "k"}) is None


def test_store_is_reached_with_keys_from_a_file(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = k\naws_secret_access_key = s\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    settings = SnapshotSettings(to="s3://backups/file", endpoint=s3, region="r", allow_http=True)
    storage = open_storage(settings)
    storage.write("a/b", b"c")
    assert storage.sizes() == {"a/b": 1}
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    with pytest.raises(SnapshotsUnavailable, match="no keys of profile 'default'"):
        open_storage(settings).sizes()


def test_what_a_store_says_of_a_signature_is_not_repeated() -> None:
    message = (
        "Generic S3 error: Client error with status 403 Forbidden: <?xml?><Error>"
        "<Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA7</AWSAccessKeyId></Error>"
    )
    assert cause_of(message) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "given",
    [{"endpoint": "http://s3.internal"}, {"to": "gs://bucket"}, {"keep": 0}, {"secret": "x"}],
)
def test_settings_that_are_unsafe_or_unknown_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SnapshotSettings.model_validate(given)
