"""The HTTP server: FastAPI in front, one worker process per device behind a bounded queue."""
