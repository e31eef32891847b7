"""The stages of a run: rows in, rows out, over a run directory."""
