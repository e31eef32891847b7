"""Curated sets to LoRA weights, and the loop that proves the gain."""
