"""The key of a model, from the environment or a file; it is shown by nothing in here."""

import os
from collections.abc import Mapping

from assistant.gateway.errors import GatewayError
from assistant.gateway.settings import ModelEntry
from index.secret_file import NoSecret, SecretFile


class NoKey(GatewayError):
    """The key that the settings point to is not there, or can't be one."""

    title = "No key"


class Credentials:
    """Where a model's key is found. It is looked up for each call: keys are exchanged without a restart."""

    def __init__(self, entry: ModelEntry, environment: Mapping[str, str] = os.environ) -> None:
        self._entry = entry
        self._environment = environment
        what = f"the key of model {entry.name!r}"
        self._file = SecretFile(entry.key_file, what) if entry.key_file else None

    def key(self) -> str | None:
        """The key as it is now, or None for a model that needs none; raises `NoKey`."""
        if self._entry.key_env is not None:
            return self._from_environment(self._entry.key_env)
        if self._file is None:
            return None
        try:
            return self._file.read()
        except NoSecret as error:
            raise NoKey(f"{error} (setting `key_file`)") from None

    def _from_environment(self, variable: str) -> str:
        key = self._environment.get(variable, "").strip()
        if not key or not (key.isascii() and key.isprintable()):
            raise NoKey(
                f"the variable {variable} holds no key for model {self._entry.name!r}: "
                "put the key there and nothing else"
            )
        return key

    def __repr__(self) -> str:
        return f"Credentials(of {self._entry.name!r})"
