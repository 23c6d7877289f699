"""Training: the engine, and what chooses objectives for it."""

from residiff.train.engine import METRICS, MODEL, STATE, Progress, Run, draw_times, learning_rate, open_run, pairs_for

__all__ = ["METRICS", "MODEL", "STATE", "Progress", "Run", "draw_times", "learning_rate", "open_run", "pairs_for"]
