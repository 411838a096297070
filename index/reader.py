"""The reader: one open state for each request, exchanged when a newer one is published."""

import logging
import threading
from pathlib import Path

from index.catalog import Catalog
from index.errors import IndexUnavailable
from index.store import OpenState, catalog_path, open_current

log = logging.getLogger("casebook.index")


class IndexReader:
    """Opens the index at a folder and follows what is published there.

    Raises `IndexUnavailable` where there is no index, it is empty, or it is beyond repair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None
        self._open: OpenState | None = None

    @property
    def catalog(self) -> Catalog:
        """The catalog, opened when first asked for."""
        if self._catalog is None:
            self._catalog = Catalog(catalog_path(self.folder))
        return self._catalog

    def current(self) -> OpenState:
        """The newest state. Hold the one you get for a whole request."""
        with self._lock:
            if not catalog_path(self.folder).exists():
                self._forget()
                raise IndexUnavailable(
                    f"no index at {self.folder}: run `casebook ingest` to build one"
                )
            if self._open is None or self._open.state.id != self.catalog.current_state_id():
                known = {each.name: each for each in self._open.segments} if self._open else {}
                self._open = open_current(self.folder, self.catalog, known)
                log.info("serving index state %s", self._open.state.id)
            return self._open

    def close(self) -> None:
        """Close the catalog."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = self._open = None
