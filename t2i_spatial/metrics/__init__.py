"""Boxes to verdicts: relation geometry, one file per protocol, statistics. Never torch."""
