"""The Model Context Protocol: what other programs' models may have done, with their callers' access."""
