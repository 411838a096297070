"""How an API key reads: `cbk_<id>_<secret><checksum>`.

The id names it in lists and logs. The secret is from the system's random numbers. The checksum
(CRC-32 in base 62, as in GitHub's tokens) tells a typo without a look at the stored keys, and lets
scanners tell keys in commits and pastes from what only looks like one.
"""

import re
import secrets
import string
import zlib

from assistant.access.caller import Refused

PREFIX = "cbk_"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_ALPHABET = string.digits + string.ascii_lowercase
ID_LENGTH = 8
SECRET_LENGTH = 43
"""log2(62) · 43 = 256.03 bits."""
CHECKSUM_LENGTH = 6
"""62⁶ > 2³²."""

SHAPE = re.compile(
    rf"{PREFIX}([0-9a-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
)


def new_secret() -> tuple[str, str]:
    """A new key's id, and the key itself."""
    key_id = _random(ID_ALPHABET, ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random(BASE62, SECRET_LENGTH)}"
    return key_id, body + _checksum(body)


def id_of(secret: str) -> str:
    """The id inside a key; raises `Refused` for what can't be a key, without repeating it."""
    shaped = SHAPE.fullmatch(secret)
    if not shaped or _checksum(secret[:-CHECKSUM_LENGTH]) != secret[-CHECKSUM_LENGTH:]:
        raise Refused("the key is malformed: mistyped or cut off")
    return shaped[1]


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
