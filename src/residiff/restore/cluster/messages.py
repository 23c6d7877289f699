"""What goes to a worker, and what comes back: JSON, so that no code travels in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from residiff import errors
from residiff.errors import ResidiffError
from residiff.restore.jobs import Job, Outcome, Place, Remote

_ERRORS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}


@dataclass(frozen=True)
class Errand:
    """Job `number` of a run, and the lines of the manifest that are known of its target."""

    number: int
    job: Job
    known: tuple[str, ...] = ()

    def text(self) -> str:
        """As JSON in one line of ASCII, whatever names hold."""
        job = self.job
        mask = None if job.mask is None else str(job.mask)
        paths = {"source": str(job.source), "target": str(job.target), "mask": mask}
        remote = None if job.remote is None else asdict(job.remote)
        return json.dumps({"number": self.number, "known": self.known, "remote": remote} | paths)

    @classmethod
    def of(cls, text: str) -> Errand:
        """What `text` gave it."""
        told = json.loads(text)
        mask = None if told["mask"] is None else Path(told["mask"])
        job = Job(Path(told["source"]), Path(told["target"]), mask, _remote(told["remote"]))
        return cls(told["number"], job, tuple(told["known"]))


def _remote(told: dict[str, dict[str, str]] | None) -> Remote | None:
    if told is None:
        return None
    mask = Place(**told["mask"]) if told["mask"] else None
    return Remote(Place(**told["source"]), Place(**told["target"]), mask, tuple(told["stamps"]))


@dataclass(frozen=True)
class Reply:
    """What became of job `number`: what `Outcome` holds, the error by name, and the line for the manifest.

    Where `ends`, the error is not this picture's alone, and ends the run.
    """

    number: int
    error: str = ""
    message: str = ""
    ends: bool = False
    skipped: bool = False
    remade: str = ""
    seconds: float = 0.0
    around: float = 0.0
    pixels: int = 0
    change: float = 0.0
    whole: bool = True
    record: str | None = None

    @classmethod
    def told(cls, number: int, outcome: Outcome, record: str | None = None, remade: str = "") -> Reply:
        """Of an outcome; `remade` is said where it does not say why itself."""
        error = outcome.error
        return cls(
            number=number,
            error="" if error is None else type(error).__name__,
            message="" if error is None else str(error),
            skipped=outcome.skipped,
            remade=outcome.remade or remade,
            seconds=outcome.seconds,
            around=outcome.around,
            pixels=outcome.pixels,
            change=outcome.change,
            whole=outcome.whole,
            record=record,
        )

    @classmethod
    def failed(cls, number: int, error: ResidiffError, *, ends: bool = False) -> Reply:
        """Of an error alone."""
        return cls(number, type(error).__name__, str(error), ends)

    @property
    def fault(self) -> ResidiffError | None:
        """The error, made anew."""
        kind = _ERRORS.get(self.error, ResidiffError)
        return kind(self.message) if self.error else None

    def outcome(self, job: Job) -> Outcome:
        """As the outcome of `job`."""
        return Outcome(
            job=job,
            error=self.fault,
            skipped=self.skipped,
            remade=self.remade,
            seconds=self.seconds,
            around=self.around,
            pixels=self.pixels,
            change=self.change,
            whole=self.whole,
        )

    def text(self) -> str:
        """As JSON in one line of ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Reply:
        """What `text` gave it."""
        return cls(**json.loads(text))
