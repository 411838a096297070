"""Casebook beside LlamaIndex, LangChain, Haystack and txtai: `python -m benchmarks.peers`."""
