"""Verdicts to training sets: filters with reasons, near-duplicates, exporters."""
