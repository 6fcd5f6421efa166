"""What a server counts, as Prometheus reads it."""

from typing import Any

import prometheus_client

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_PEOPLE = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Requests, pictures and runs of the network."""

    content_type = prometheus_client.CONTENT_TYPE_LATEST

    def __init__(self):
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        common: Any = {"namespace": "keras_hourglass", "registry": self._registry}
        self._requests = prometheus_client.Counter(
            "requests", "Requests by kind and status", ("kind", "status"), **common
        )
        self._seconds = prometheus_client.Histogram(
            "request_seconds", "From headers to answer", ("kind",), buckets=_SECONDS, **common
        )
        self._pictures = prometheus_client.Counter(
            "people", "People by whether their picture could be used", ("valid",), **common
        )
        self._batches = prometheus_client.Histogram(
            "batch_people", "People in one run of the network", buckets=_PEOPLE, **common
        )
        self._refused = prometheus_client.Counter(
            "refused", "Requests refused because too much waited", ("reason",), **common
        )
        self._waiting = prometheus_client.Gauge(
            "waiting_people", "People accepted and not yet answered", **common
        )
        self._version = prometheus_client.Gauge("version", "The version that is served", **common)

    def watch(self, waiting, version):
        """Have two numbers asked for when somebody looks."""
        self._waiting.set_function(waiting)
        self._version.set_function(version)

    def request(self, kind, status, seconds):
        """A request that was answered."""
        self._requests.labels(kind, status).inc()
        self._seconds.labels(kind).observe(seconds)

    def pictures(self, valid):
        """People who were answered."""
        good = int(valid.sum())
        self._pictures.labels("true").inc(good)
        self._pictures.labels("false").inc(valid.size - good)

    def batch(self, count):
        """A run of the network."""
        self._batches.observe(count)

    def refused(self, reason):
        """A request for which there was no room."""
        self._refused.labels(reason).inc()

    def text(self):
        """Everything, in Prometheus's text format."""
        return prometheus_client.generate_latest(self._registry)
