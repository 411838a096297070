"""What is known: documents, chunks, vectors and the ways to search them."""
