"""The Python client: `from assistant import Casebook`."""
