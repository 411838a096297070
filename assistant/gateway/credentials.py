"""The key of a model, from the environment or a file; it is shown by nothing in here."""

import os
from collections.abc import Mapping
from pathlib import Path

from assistant.gateway.errors import GatewayError
from assistant.gateway.settings import ModelEntry


class NoKey(GatewayError):
    """The key that the settings point to is not there, or can't be one."""

    title = "No key"


class Credentials:
    """Where a model's key is found. A file is read again when it changes: keys are exchanged without
    a restart, also where a link is pointed elsewhere, as Kubernetes does.
    """

    def __init__(self, entry: ModelEntry, environment: Mapping[str, str] = os.environ) -> None:
        self._entry = entry
        self._environment = environment
        self._read: tuple[tuple[int, int, int], str] | None = None

    def key(self) -> str | None:
        """The key as it is now, or None for a model that needs none; raises `NoKey`."""
        entry = self._entry
        if entry.key_env is not None:
            return self._usable(
                self._environment.get(entry.key_env, ""), f"the variable {entry.key_env}"
            )
        if entry.key_file is not None:
            return self._from_file(entry.key_file)
        return None

    def _from_file(self, path: Path) -> str:
        try:
            status = path.stat()
            version = status.st_mtime_ns, status.st_ino, status.st_size
            if self._read is None or self._read[0] != version:
                key = self._usable(path.read_text(encoding="ascii"), f"the file {path}")
                self._read = version, key
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not plain ASCII"
            raise NoKey(
                f"the key of model {self._entry.name!r} can't be read from {path} ({reason}): "
                "write the key and nothing else into it (setting `key_file`)"
            ) from None  # the error of a decoder holds the bytes
        return self._read[1]

    def _usable(self, text: str, where: str) -> str:
        key = text.strip()
        if not key or not (key.isascii() and key.isprintable()):
            raise NoKey(
                f"{where} holds no key for model {self._entry.name!r}: "
                "put the key there and nothing else"
            )
        return key

    def __repr__(self) -> str:
        return f"Credentials(of {self._entry.name!r})"
