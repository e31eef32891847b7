"""Judging prompts in random order until a number is known, or a comparison decided."""
