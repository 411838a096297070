"""Answers kept for calls that are the same in everything that could make a difference."""

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import replace
from decimal import Decimal

from assistant.gateway.schema import Call, Completed, Usage
from assistant.gateway.settings import ModelEntry


class Cache:
    """The answers last used, at most `size` of them, in memory. Safe between threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, Completed]] = OrderedDict()

    def get(self, key: str) -> tuple[str, Completed] | None:
        """The text and its end, as of a call that made no attempt and cost nothing; None if not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: str, text: str, completed: Completed) -> None:
        """Keep an answer, in place of the one not used for longest."""
        free = replace(completed, usage=Usage(0, 0), cost=Decimal(0), attempts=0, from_cache=True)
        with self._lock:
            self._kept[key] = (text, free)
            self._kept.move_to_end(key)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)


def key_of(call: Call, model: ModelEntry) -> str:
    """SHA-256 over all that an answer depends on: what the model is sent, which model it is, who may
    read the answer, and the state of the index. Not over who pays: callers who may read the same share.
    """
    parts = {
        "messages": [[message.role, message.text] for message in call.messages],
        "max_output_tokens": call.max_output_tokens,
        "audience": sorted(call.audience),
        "index_state": call.index_state,
        "model": [model.name, model.provider, model.model, str(model.address)],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
