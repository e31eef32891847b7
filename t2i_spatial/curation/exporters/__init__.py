"""Training-set formats, one file each; a new file here is found by its decorator."""
