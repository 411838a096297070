"""Sources: where engineers keep what they know, each behind the same two questions."""
