"""Metrics that a network gives."""

from __future__ import annotations

from residiff.errors import ResourceError
from residiff.evaluate.measures import Metric
from residiff.metrics.frechet import Features


def network_metric(name: str, weights: str | None) -> Metric:
    """X."""
    raise ResourceError(f"{name} needs weights")


def network_features(name: str, weights: str | None, device: str) -> Features:
    """X."""
    raise ResourceError(f"{name} needs weights")
