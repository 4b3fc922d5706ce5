"""What the service counts, for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segpipe.web.problems import FAILED

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "segpipe_requests",
            "Requests that were answered.",
            ("path", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "segpipe_request_seconds",
            "Time from a request's first byte to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.model_seconds = Histogram(
            "segpipe_model_seconds",
            "Time of a prompt in the model.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refiner_seconds = Histogram(
            "segpipe_refiner_seconds",
            "Time of a photo in the refiner.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refiner_failures = Counter(
            "segpipe_refiner_failures",
            "Photos that the refiner failed on; their coarse masks were answered.",
            registry=self.registry,
        )
        self.streams = Counter(
            "segpipe_streams",
            "Streams that ended, by how: final, error, or left by their client.",
            ("end",),
            registry=self.registry,
        )
        self.images = Counter(
            "segpipe_images",
            "Uploaded photos: decoded, or kept from an earlier prompt.",
            ("source",),
            registry=self.registry,
        )

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Show a number that is read at each ``GET /metrics``."""
        Gauge(name, documentation, registry=self.registry).set_function(value)


class CountRequests:
    """Counts and times the requests of an app; unknown paths count as one."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it once it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        status, started = FAILED, time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.request_seconds.labels(path).observe(time.perf_counter() - started)
