"""How a question becomes an answer of cited passages, and how people and programs ask."""
