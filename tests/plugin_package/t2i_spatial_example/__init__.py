"""What a package of one's own can add to t2i-spatial: one of each kind."""
