"""Human labels of a run: pick images, audit numbers, compare runs, calibrate settings."""
