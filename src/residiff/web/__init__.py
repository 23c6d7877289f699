"""The server: a queue of jobs, a worker that does them, and HTTP in front of it."""

from residiff.web.faults import BusyError, Failure, RefusedError
from residiff.web.job import Job, JobState, Snapshot
from residiff.web.jobs import Jobs
from residiff.web.settings import Settings
from residiff.web.work import ModelEntry, Product, Progress, TooMuchWorkError, UnknownModelError, Work

__all__ = [
    "BusyError",
    "Failure",
    "Job",
    "JobState",
    "Jobs",
    "ModelEntry",
    "Product",
    "Progress",
    "RefusedError",
    "Settings",
    "Snapshot",
    "TooMuchWorkError",
    "UnknownModelError",
    "Work",
]
