"""Prompt sets: built in, read from files, parsed from text, sampled."""
