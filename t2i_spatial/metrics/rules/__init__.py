"""Relation rules, one file per protocol; `metrics.relations` finds every file of this room."""
