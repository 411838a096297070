"""Generation: what a language model is asked, and what of its text stands up to its sources."""
