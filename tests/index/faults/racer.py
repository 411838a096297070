"""Tries to write to an index when told to, and holds it until told to publish.

    python racer.py INDEX

Reads the name of a document a line; where it wins, it says so and waits for a second line.
"""

import json
import sys
from pathlib import Path

from benchmarks.made_up import DIMENSION, MODEL, stored
from index.catalog import Catalog
from index.errors import Busy
from index.store import catalog_path, publish, writing


def add(folder: Path, name: str) -> None:
    """Publish what there is and one document more."""
    catalog = Catalog(catalog_path(folder), create=True)
    current = catalog.current_state_id()
    rows = [row.row for row in catalog.document_rows(current)] if current else []
    publish(folder, catalog, MODEL, DIMENSION, [*rows, stored(catalog, name, f"text of {name}")])
    catalog.close()


def main() -> None:
    """Race until there are no more lines."""
    folder = Path(sys.argv[1])
    print(json.dumps({"ready": True}), flush=True)
    for name in sys.stdin:
        try:
            with writing(folder):
                print(json.dumps({"won": name.strip()}), flush=True)
                sys.stdin.readline()
                add(folder, name.strip())
        except Busy as error:
            print(json.dumps({"busy": str(error), "exit_code": error.exit_code}), flush=True)
        else:
            print(json.dumps({"published": name.strip()}), flush=True)


if __name__ == "__main__":
    main()
