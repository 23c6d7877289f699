"""Training: the engine, and what chooses objectives for it."""

from residiff.checkpoint import BEST, MODEL, STATES
from residiff.train.before_after import BEFORE_AFTER, BeforeAfter, Row, before_and_after, read_before_after
from residiff.train.candidates import candidates_for, split
from residiff.train.data import TrainingData, training_data
from residiff.train.distil import distilled
from residiff.train.engine import RECIPE, Run
from residiff.train.log import DETAILS, EVENTS, METRICS, SCORES, STRIPS, Progress, Score, read_metrics, read_scores
from residiff.train.memory import fitted, fitted_before
from residiff.train.objective import Candidate
from residiff.train.opening import open_run
from residiff.train.processes import Processes, started
from residiff.train.rules import average_decay, draw_times, learning_rate
from residiff.train.standings import Standing, Trial, Verdict
from residiff.train.tuning import Tuned, Tuner, calibration, tuned_model

__all__ = [
    "BEFORE_AFTER",
    "BEST",
    "DETAILS",
    "EVENTS",
    "METRICS",
    "MODEL",
    "RECIPE",
    "SCORES",
    "STATES",
    "STRIPS",
    "BeforeAfter",
    "Candidate",
    "Processes",
    "Progress",
    "Row",
    "Run",
    "Score",
    "TrainingData",
    "Standing",
    "Trial",
    "Tuned",
    "Tuner",
    "Verdict",
    "average_decay",
    "before_and_after",
    "calibration",
    "candidates_for",
    "distilled",
    "draw_times",
    "fitted",
    "fitted_before",
    "learning_rate",
    "open_run",
    "read_before_after",
    "read_metrics",
    "read_scores",
    "split",
    "started",
    "training_data",
    "tuned_model",
]
