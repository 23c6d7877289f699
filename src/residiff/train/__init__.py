"""Training: the engine, and what chooses objectives for it."""

from residiff.checkpoint import BEST, MODEL, STATES
from residiff.train.candidates import candidates_for, split
from residiff.train.data import TrainingData, training_data
from residiff.train.engine import RECIPE, Run
from residiff.train.log import DETAILS, EVENTS, METRICS, SCORES, STRIPS, Progress, Score, read_metrics, read_scores
from residiff.train.memory import fitted, fitted_before
from residiff.train.objective import Candidate
from residiff.train.opening import open_run
from residiff.train.processes import Processes, started
from residiff.train.rules import average_decay, draw_times, learning_rate
from residiff.train.standings import Standing, Trial, Verdict

__all__ = [
    "BEST",
    "DETAILS",
    "EVENTS",
    "METRICS",
    "MODEL",
    "RECIPE",
    "SCORES",
    "STATES",
    "STRIPS",
    "Candidate",
    "Processes",
    "Progress",
    "Run",
    "Score",
    "TrainingData",
    "Standing",
    "Trial",
    "Verdict",
    "average_decay",
    "candidates_for",
    "draw_times",
    "fitted",
    "fitted_before",
    "learning_rate",
    "open_run",
    "read_metrics",
    "read_scores",
    "split",
    "started",
    "training_data",
]
