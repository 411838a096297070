"""Restores on order, each time in a process of its own, over a disk that fails on demand.

Run with the shim of `tests/index/faults` preloaded. Reads one order a line, as JSON, and answers one line:
how the child ended and what it had to say.
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
from index.errors import CasebookError
from index.recovery.inventory import chosen
from index.recovery.restore import plan_restore, restore
from index.recovery.rollback import plan_rollback, rollback
from index.recovery.storage import FolderStorage
from index.text import terms


def told(order: dict[str, Any]) -> dict[str, Any]:
    """Do what `casebook index restore --yes` or `rollback --yes` does, and say what came of it."""
    folder, storage = Path(order["folder"]), FolderStorage(Path(order["store"]))
    try:
        if order["does"] == "rollback":
            rollback(folder, plan_rollback(folder))
        else:
            manifest = chosen(storage, None)
            plan = plan_restore(folder, storage, manifest)
            restore(folder, storage, manifest, plan, lambda stage, done, total: None)
    except CasebookError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception:  # noqa: BLE001 - the parent wants to know what it was
        return {"broke": traceback.format_exc()}
    return {"done": True}


def in_a_child(order: dict[str, Any]) -> dict[str, Any]:
    """The order carried out by a fork, with its signal where it was killed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        steps = os.open(order["steps"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        arm = ctypes.CDLL(None).fault_arm
        arm(order["folder"].encode(), order["kind"], order["at"], steps)
        os.write(theirs, json.dumps(told(order)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
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
