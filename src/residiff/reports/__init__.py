"""Reports: pages that hold everything they show."""

from residiff.reports.training import training_report, write_training

__all__ = ["training_report", "write_training"]
