"""What a server tells Prometheus: requests, jobs, and how its worker does."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from residiff.web import Jobs

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ROUTES = ("/v1/restore", "/v1/jobs", "/v1/models", "/healthz", "/readyz", "/metrics", "/openapi.json")
_OF_JOBS = ("result", "preview")


class Metrics:
    """The metrics of one server."""

    def __init__(self, jobs: Jobs) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("residiff_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "residiff_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._registry.register(_OfJobs(jobs))

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered, or was given up if `status` is 0."""
        route = _route(path)
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _OfJobs(Collector):
    """Looks at the queue whenever it is asked."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """The queue as it is now."""
        jobs = self._jobs
        yield GaugeMetricFamily("residiff_ready", "Whether jobs are taken.", value=int(jobs.ready))
        yield GaugeMetricFamily("residiff_jobs_waiting", "Jobs in the queue.", value=jobs.waiting)
        yield GaugeMetricFamily("residiff_jobs_running", "Jobs being computed.", value=jobs.running)
        yield CounterMetricFamily("residiff_worker_restarts", "Times that the worker ended.", value=jobs.restarts)
        ended = CounterMetricFamily("residiff_jobs_ended", "Jobs that have ended.", labels=["outcome"])
        for outcome, count in sorted(jobs.outcomes.items()):
            ended.add_metric([outcome], count)
        yield ended
        memory = GaugeMetricFamily("residiff_memory_bytes", "Resident memory.", labels=["process"])
        for name, number in (("server", None), ("worker", jobs.worker_number or None)):
            memory.add_metric([name], _memory_of(number) if name == "server" or number else 0)
        yield memory


def _memory_of(number: int | None) -> float:
    try:
        return float(psutil.Process(number).memory_info().rss)
    except psutil.Error:
        return 0.0


def _route(path: str) -> str:
    """Which of a few routes it is: paths that people make up must not become labels."""
    if path in _ROUTES:
        return path
    if not path.startswith("/v1/jobs/"):
        return "other"
    last = path.rpartition("/")[2]
    return "/v1/jobs/{id}" + (f"/{last}" if last in _OF_JOBS else "")


_METHODS = {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"}
