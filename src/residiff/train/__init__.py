"""Training: the engine, and what chooses objectives for it."""

from residiff.checkpoint import MODEL, STATE
from residiff.train.candidates import Split, candidates_for, split
from residiff.train.engine import METRICS, Progress, Run, open_run, pairs_for
from residiff.train.objective import Candidate
from residiff.train.rules import average_decay, draw_times, learning_rate
from residiff.train.standings import Standing, Trial, Verdict

__all__ = [
    "METRICS",
    "MODEL",
    "STATE",
    "Candidate",
    "Progress",
    "Run",
    "Split",
    "Standing",
    "Trial",
    "Verdict",
    "average_decay",
    "candidates_for",
    "draw_times",
    "learning_rate",
    "open_run",
    "pairs_for",
    "split",
]
