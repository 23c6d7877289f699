"""Reports: pages that hold everything they show."""

from residiff.reports.training import training_report, write_training
from residiff.reports.words import over

__all__ = ["over", "training_report", "write_training"]
