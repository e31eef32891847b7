"""The scorer as a reward: a function and an HTTP server."""
