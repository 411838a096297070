"""One module a system. Each runs in that system's own environment and does one task file.

An adapter may import its system, the standard library and `benchmarks.peers.contract` and
`.measure`; it holds the configuration that the system's documentation recommends, and says where.
"""
