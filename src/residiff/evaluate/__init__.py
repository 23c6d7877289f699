"""Scoring restored pictures: which are compared, by which protocol, and what came of it."""

from residiff.evaluate.folders import Report, Score, evaluate

__all__ = ["Report", "Score", "evaluate"]
