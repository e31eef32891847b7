"""Counters for Prometheus."""

from __future__ import annotations

from typing import Any

from t2i_spatial.errors import require


class Monitoring:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        prometheus: Any = require("prometheus_client", "serve")
        self._prometheus = prometheus
        self.registry = registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "t2i_spatial_requests", "Requests answered.", ["path", "code"], registry=registry
        )
        self.items = prometheus.Counter(
            "t2i_spatial_images", "Images by what became of them.", ["status"], registry=registry
        )
        self.restarts = prometheus.Counter(
            "t2i_spatial_worker_restarts", "Workers started anew.", registry=registry
        )
        self.ready = prometheus.Gauge(
            "t2i_spatial_workers_ready", "Workers that take work.", registry=registry
        )
        self.queue = prometheus.Gauge(
            "t2i_spatial_queue_images", "Images accepted and not answered.", registry=registry
        )
        self.batch = prometheus.Histogram(
            "t2i_spatial_batch_images",
            "Images per forward pass.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.seconds = prometheus.Histogram(
            "t2i_spatial_request_seconds",
            "Time from the last byte of a request to its answer.",
            ["path"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=registry,
        )

    def text(self) -> bytes:
        """The exposition format."""
        page: bytes = self._prometheus.generate_latest(self.registry)
        return page
