"""Intervals, paired comparisons, sequential stopping and power, on arrays and clusters."""
