"""Who is calling, and what each route asks of a caller."""
