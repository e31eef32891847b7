"""An example of an out-of-tree protocol."""
