"""The headers that open a receiver of telemetry, kept in a file because they hold its key."""

import logging
import re
from pathlib import Path

from requests import PreparedRequest
from requests.auth import AuthBase

from index.errors import InvalidInput

log = logging.getLogger("casebook.telemetry")

_LINE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e]+)")
"""RFC 9110, section 5: a name, a colon, and what can be printed."""


class HeadersFile(AuthBase):
    """Headers from a file, a line each. Read with every request, some in a minute, so that a key can be
    exchanged without a restart; while it can't be read, those from before are sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers = self._read()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add them to a request."""
        try:
            self._headers = self._read()
        except InvalidInput as error:
            log.error("%s", error)
        request.headers.update(self._headers)
        return request

    def _read(self) -> dict[str, str]:
        """The headers; raises `InvalidInput`, which repeats nothing of the file."""
        try:
            lines = self._path.read_text(encoding="latin-1").splitlines()
        except OSError as error:
            raise InvalidInput(
                f"the headers for telemetry can't be read from {self._path} ({error.strerror}): "
                "write them there, each on a line (setting `headers_file`)"
            ) from None
        found = [_LINE.fullmatch(line.strip()) for line in lines if line.strip()]
        if not found or not all(found):
            raise InvalidInput(
                f"{self._path} does not hold headers alone: write each on a line of its own, like "
                "`Authorization: Bearer …` (setting `headers_file`)"
            )
        return {match[1]: match[2] for match in found if match}

    def __repr__(self) -> str:
        return f"HeadersFile({str(self._path)!r})"
