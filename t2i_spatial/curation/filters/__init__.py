"""Filters, one file per family; a new file here is found by its decorator."""
