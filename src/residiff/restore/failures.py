"""The list of what could not be restored, a JSON object a line: there while the run goes on, gone when all is well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

from residiff.files import environment_errors
from residiff.restore.jobs import Outcome
from residiff.restore.journal import Journal, as_line


@final
class Failures:
    """The list of a run at `path`; an earlier run's is replaced when the first failure comes."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self.count = 0

    def clear(self) -> None:
        """Remove the list of an earlier run; `ResourceError` if that is not allowed."""
        with environment_errors(self._journal.path):
            self._journal.path.unlink(missing_ok=True)

    def add(self, outcome: Outcome) -> None:
        """Add a job that failed; others are none of its business."""
        if outcome.error is None:
            return
        if not self.count:
            self.clear()
        self.count += 1
        error = {"error": type(outcome.error).__name__, "message": str(outcome.error)}
        self._journal.add(as_line({"source": outcome.job.origin} | error))

    def close(self) -> None:
        """Close the list."""
        self._journal.close()


def write_failures(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the failed jobs to `path`; where none failed, an earlier run's list is removed."""
    failures = Failures(path)
    failures.clear()
    for outcome in outcomes:
        failures.add(outcome)
    failures.close()
