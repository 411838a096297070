"""Publishes on order, each time in a process of its own, over a disk that fails on demand.

Run with the shim preloaded. Reads one order a line, as JSON, and answers one line: how the child ended
and what it had to say. The parent has imported all there is, so a child starts in milliseconds.
"""

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from index import vectors
from index.catalog import Catalog
from index.errors import CasebookError
from index.store import catalog_path, publish, writing
from index.text import terms


def published(order: dict[str, Any]) -> dict[str, Any]:
    """Do what `casebook ingest` does once all is embedded, and say what came of it."""
    folder = Path(order["folder"])
    try:
        with writing(folder):
            catalog = Catalog(catalog_path(folder), create=True)
            try:
                state = publish(folder, catalog, order["model"], order["dimension"], order["rows"])
            finally:
                catalog.close()
    except CasebookError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"published": state.id}


def in_a_child(order: dict[str, Any]) -> dict[str, Any]:
    """The order carried out by a fork, with its signal where it was killed."""
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        steps = os.open(order["steps"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        arm = ctypes.CDLL(None).fault_arm
        arm(order["folder"].encode(), order["kind"], order["at"], steps)
        try:
            os.write(tells, json.dumps(published(order)).encode())
        except Exception:
            traceback.print_exc()
            raise
        finally:  # whatever it was: a child must not go on as its parent
            os._exit(1)
    os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    return {"signal": signal, **(json.loads(said) if said else {})}


def main() -> None:
    """Answer orders until there are no more."""
    vectors.to_bytes(vectors.build(np.eye(2, dtype=np.float32)))
    terms("warm")
    for line in sys.stdin:
        print(json.dumps(in_a_child(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
