"""When a test is taken to hang. Not a speed: a busy machine may be fifty times slower."""

HANGS = 1500.0
