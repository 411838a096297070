"""Evaluation: how well Casebook finds, answers and keeps silent, measured on questions."""
