"""Secrets in files: read when they are used, so that one exchanged under a running process counts at once."""

import logging
import os
import stat
from pathlib import Path

from index.errors import CasebookError

log = logging.getLogger("casebook.secrets")

MOST = 16 * 1024
"""Bytes of a secret; a signed token has two or three thousand."""


class NoSecret(CasebookError):
    """A file that should hold a secret is not there, or holds none; what it does hold is not repeated."""

    status = 503
    title = "No secret"


class SecretFile:
    """A file that holds one secret on one line; `what` names the secret in errors.

    Read anew each time, which takes 20 µs: a file that is written in place within one tick of the file
    system's clock looks unchanged to whoever compares times. Kubernetes and Vault point a link
    elsewhere, which is followed.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        self._warned = False

    def read(self) -> str:
        """The secret as it is now; raises `NoSecret`."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(MOST + 1)
        except OSError as error:
            raise NoSecret(
                f"{self._what} can't be read from {self.path} ({error.strerror}): "
                "write it there, readable for this process"
            ) from None
        self._look_at(mode)
        return self._usable(content)

    def _usable(self, content: bytes) -> str:
        text = content.decode("latin-1").strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise NoSecret(f"{self.path} does not hold {self._what}: put it there, on one line")
        if len(content) > MOST:
            raise NoSecret(f"{self.path} is too long for {self._what}: put that there and no more")
        return text

    def _look_at(self, mode: int) -> None:
        """Say, once for as long as it is so, that the file is open to every user of the machine."""
        if mode & stat.S_IROTH and not self._warned:
            log.warning(
                "the permissions of %s let every user of this machine read %s: chmod o-r it, or in "
                "Kubernetes mount it with defaultMode 0440",
                self.path,
                self._what,
            )
        self._warned = bool(mode & stat.S_IROTH)

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"
