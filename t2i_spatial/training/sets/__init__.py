"""Training sets as people keep them, one file per form; all become examples with image files."""
