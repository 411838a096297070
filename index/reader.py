"""The reader: one open state for each request, exchanged when a newer one is published."""

import logging
import threading
from pathlib import Path

from index.catalog import Catalog
from index.errors import IndexUnavailable
from index.instruments import REPAIRS
from index.store import OpenState, catalog_path, open_current

log = logging.getLogger("casebook.index")


class IndexReader:
    """Opens the index at a folder and follows what is published there.

    Raises `IndexUnavailable` where there is no index, it is empty, or it is beyond repair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._catalog: Catalog | None = None
        self._file: tuple[int, int] | None = None
        self._open: OpenState | None = None
        self._held = threading.local()

    @property
    def catalog(self) -> Catalog:
        """The catalog of the state that this thread was given last, or the one that serves now.

        A restore exchanges the file: a request that began before it ends with the former catalog, as the
        rows that it holds are of that one.
        """
        held: Catalog | None = getattr(self._held, "catalog", None)
        return held or self._serving()

    def _serving(self) -> Catalog:
        """The catalog that serves now, opened anew when the file is another than it was."""
        with self._lock:
            while self._catalog is None or self._file != _identity(catalog_path(self.folder)):
                # Requests that hold the former catalog still read it; it closes with the last of them.
                file = _identity(catalog_path(self.folder))
                self._catalog, self._open = Catalog(catalog_path(self.folder)), None
                self._file = file
            return self._catalog

    def current(self) -> OpenState:
        """The newest state. Hold the one you get for a whole request."""
        with self._lock:
            while True:
                file = _identity(catalog_path(self.folder))
                if file is None:
                    self._forget()
                    raise IndexUnavailable(
                        f"no index at {self.folder}: run `casebook ingest` to build one"
                    )
                try:
                    return self._opened(self._serving())
                except IndexUnavailable:
                    # A catalog is compared with what lies beside it: exchanged in between, neither is wrong.
                    if file == _identity(catalog_path(self.folder)):
                        raise

    def _opened(self, catalog: Catalog) -> OpenState:
        """The newest state of the catalog that serves, held for this thread."""
        self._held.catalog = catalog
        if self._open is None or self._open.state.id != catalog.current_state_id():
            known = {each.name: each for each in self._open.segments} if self._open else {}
            self._open = open_current(self.folder, catalog, known)
            log.info("serving index state %s", self._open.state.id)
            REPAIRS.add(len(self._open.repaired))
        return self._open

    def close(self) -> None:
        """Close the catalog."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = self._open = None
        self._held = threading.local()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that takes its place; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
