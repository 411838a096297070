"""Snapshots in a bucket of an S3-compatible store, through obstore."""

import configparser
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from index.recovery.errors import SnapshotDamaged, SnapshotsUnavailable
from index.recovery.settings import SnapshotSettings

if TYPE_CHECKING:
    from obstore.store import S3Credential

READ_AT_ONCE = 1 << 20
PART = 16 << 20
"""Bytes of a part of a large upload: S3 takes at most 10,000 parts, so files up to 160 GB."""

AT_ONCE = 4
"""Parts on their way at once: with `PART`, 64 MB of memory."""

CONNECT = timedelta(seconds=5)
STALLED = timedelta(seconds=30)
"""Without a byte for so long, a request is given up; a whole one may take longer."""

RETRIES = 3
RETRY_FOR = timedelta(seconds=60)

REREAD_AFTER = timedelta(minutes=5)
"""How long keys from a file are used: they may be exchanged under a running process."""

ELSEWHERE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Where credentials come from before a file, in the order of Amazon's own tools; obstore reads these."""


class BucketStorage:
    """Snapshots under a prefix of a bucket."""

    def __init__(self, settings: SnapshotSettings) -> None:
        self.where = settings.to.rstrip("/")
        bucket, _, prefix = self.where.removeprefix("s3://").partition("/")
        given = {"endpoint": settings.endpoint, "region": settings.region}
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # a TypedDict
            client_options={
                "allow_http": settings.allow_http,
                "connect_timeout": CONNECT,
                "read_timeout": STALLED,
                "timeout": timedelta(hours=1),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
            credential_provider=credentials_file(os.environ),
        )

    def write(self, name: str, content: Path | bytes) -> None:
        """Store a file, or a few bytes, under a name."""
        with self._asked(f"store {name}"):
            obstore.put(self._store, name, content, chunk_size=PART, max_concurrency=AT_ONCE)

    def read(self, name: str) -> Iterator[bytes]:
        """What is stored under a name, piece by piece."""
        with self._asked(f"read {name}"):
            for piece in obstore.get(self._store, name).stream(min_chunk_size=READ_AT_ONCE):
                yield bytes(piece)

    def sizes(self) -> dict[str, int]:
        """Every name and its bytes."""
        with self._asked("list the snapshots"):
            return {
                each["path"]: each["size"] for page in obstore.list(self._store) for each in page
            }

    def delete(self, names: Iterable[str]) -> None:
        """Forget these, in this order."""
        for name in names:
            with self._asked(f"delete {name}"):
                obstore.delete(self._store, name)

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            # The store's own words may hold what was signed and by which key: not all is repeated.
            cause = cause_of(str(error))
            if isinstance(error, FileNotFoundError) and cause != "NoSuchBucket":
                raise SnapshotDamaged(f"can't {what}: it is not in {self.where}") from None
            raise SnapshotsUnavailable(
                f"can't {what} in {self.where} ({cause}): check `[snapshots]`, the credentials and "
                "the store, then try again"
            ) from None


def cause_of(message: str) -> str:
    """The kernel of one of obstore's messages: the store's code, or the end of the first line."""
    if code := re.search(r"<Code>(\w+)</Code>", message):
        return code[1]
    if status := re.search(r"non-2xx status code: (\d+ [\w ]+)", message):
        return status[1].strip()
    first = message.partition("\n")[0].rpartition("SnapshotsUnavailable: ")[2]
    return first.rpartition(" - ")[2].strip()[:200]


def credentials_file(
    environment: Mapping[str, str],
) -> "CredentialsFile | None":
    """Keys from a file in Amazon's format, where there is one and the environment names nothing else."""
    if any(environment.get(name) for name in ELSEWHERE):
        return None
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    named = "AWS_SHARED_CREDENTIALS_FILE" in environment
    if not named and not path.exists():
        return None
    return CredentialsFile(path, environment.get("AWS_PROFILE") or "default")


class CredentialsFile:
    """The keys of one profile, read anew when they are needed."""

    def __init__(self, path: Path, profile: str) -> None:
        self._path = path
        self._profile = profile

    def __call__(self) -> "S3Credential":
        """The keys as they are now; raises `SnapshotsUnavailable`."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(self._path.read_text(encoding="utf-8"))
            profile = parser[self._profile]
            return {
                "access_key_id": profile["aws_access_key_id"],
                "secret_access_key": profile["aws_secret_access_key"],
                "token": profile.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + REREAD_AFTER,
            }
        except (OSError, ValueError, KeyError, configparser.Error) as error:
            what = error.strerror if isinstance(error, OSError) else "not in Amazon's format"
            raise SnapshotsUnavailable(
                f"no keys of profile {self._profile!r} in {self._path} ({what}): put "
                "aws_access_key_id and aws_secret_access_key there"
            ) from None
