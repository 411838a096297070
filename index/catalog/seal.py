"""What a row is sealed with, so that one that is not what was written is known when it is read.

CRC-32 over all that the row says, begun with the catalog's own number and the table's name: a row of
another catalog, of another table or under another key does not fit. It is meant for what disks do, not
for forgers, who could seal as well. In rows of up to 11 kB it finds every change of up to three bits and
every burst of up to 32 (Koopman, *32-bit cyclic redundancy codes for internet applications*, 2002), and of
any other all but one in 4 billion; `zlib` does a gigabyte a second, and nothing that a row says needs
to be read for it that is not read anyway.
"""

import zlib
from collections.abc import Sequence

Value = str | int | float | bytes | None


class Seal:
    """Seals rows of one catalog, which is told apart by `identity`."""

    def __init__(self, identity: str) -> None:
        self._identity = identity.encode()
        self._tables: dict[str, int] = {}

    def of(self, table: str, values: Sequence[Value], blob: bytes = b"") -> int:
        """The seal of a row: its values with its key among them, and its bytes, if it has any."""
        begun = self._tables.get(table)
        if begun is None:
            begun = self._tables[table] = zlib.crc32(table.encode(), zlib.crc32(self._identity))
        # The same in every version of Python, and 1, "1", b"1" and None are told apart.
        return zlib.crc32(blob, zlib.crc32(ascii(tuple(values)).encode(), begun))
