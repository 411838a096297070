"""How much the service holds, open loop: `python -m benchmarks.load --help`."""
