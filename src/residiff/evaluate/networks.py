"""Metrics that a network gives."""

from __future__ import annotations

from residiff.errors import ResourceError
from residiff.evaluate.measures import Metric


def network_metric(name: str, weights: str | None) -> Metric:
    raise ResourceError(f"{name} needs weights")
