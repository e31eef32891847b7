"""Scoring in memory: images and prompts in, verdicts and rewards out."""
