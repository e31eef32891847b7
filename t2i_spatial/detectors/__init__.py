"""Images to boxes: one file per detector behind one protocol."""
