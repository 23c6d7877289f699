"""Which results of a folder are whole, and what they were made of: the list that `--resume` trusts, and nothing else.

A line is added when a result is in its place. Each part of a run that several machines share has a list of its own,
`manifest-1-of-3.jsonl`; reading takes all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from residiff.files import sha256_of
from residiff.restore.jobs import Job, Shard, name_in, shown
from residiff.restore.journal import Journal, lines_of
from residiff.restore.options import Settings
from residiff.restore.provenance import HASH, Provenance

NAME = "manifest"
FAILURES = "failures"


class Record(BaseModel):
    """A line of the list.

    Attributes
    ----------
    target : path of the result in the folder, with slashes
    sha256 : of the result's bytes
    source, mask : paths as they were given
    provenance : how it came about
    pixels, seconds, change : as `Outcome` has them
    stamps : of objects in a store, by which one that was changed since is known; None of files
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    target: str
    sha256: str = Field(pattern=HASH)
    source: str
    mask: str | None = None
    provenance: Provenance
    pixels: int
    seconds: float
    change: float
    stamps: tuple[str, ...] | None = None

    def line(self) -> str:
        """As JSON in one line."""
        return self.model_dump_json(exclude={"stamps"} if self.stamps is None else None)


class Ledger(Protocol):
    """What knows of the results that are there, and is told of those that come to be."""

    @property
    def output(self) -> Path:
        """The folder that they are in."""

    def add(self, record: Record) -> None:
        """Add a result that is in its place."""

    def of(self, job: Job) -> list[Record]:
        """What is known of a job's target."""


@final
class Manifest:
    """The results that the lists of a folder name, and the list to which those of this run are added."""

    def __init__(self, output: Path, shard: Shard | None = None) -> None:
        self.output = output
        self._journal = Journal(path_of(output, NAME, shard))
        # As text, which takes the least memory
        self._lines: dict[str, list[bytes]] = {}

    def read(self) -> None:
        """Take in what the folder's lists say; lines that are damaged count for nothing."""
        for path in sorted(self.output.glob(f"{NAME}*.jsonl")):
            for line in lines_of(path):
                if record := record_of(line):
                    self._lines.setdefault(record.target, []).append(line)

    def add(self, record: Record) -> None:
        """Add a result that is in its place."""
        self._journal.add(record.line())

    def of(self, job: Job) -> list[Record]:
        """What is known of a job's target, the newest of a list first."""
        found = (record_of(line) for line in reversed(self._lines.get(shown(name_in(job, self.output)), [])))
        return [record for record in found if record is not None]

    def close(self) -> None:
        """Close the list."""
        self._journal.close()


def path_of(output: Path, name: str, shard: Shard | None) -> Path:
    """Where a list of a run, or of its part, is."""
    return output / (f"{name}-{shard.label}.jsonl" if shard else f"{name}.jsonl")


def difference(record: Record, model_sha256: str, settings: Settings, batch: int | None) -> str:
    """In what a result was made otherwise than it would be now; empty if in nothing.

    `batch` is how many pictures must have been computed at once, None where that does not matter.
    """
    then = record.provenance
    if then.model_sha256 != model_sha256:
        return "made by another model"
    if not then.settings.same_as(settings) or (batch is not None and then.made.batch != batch):
        return "made with other settings"
    return ""


def damage(record: Record, target: Path) -> str:
    """What is wrong with the file of a result; empty if it is the one that was written."""
    try:
        return "" if sha256_of(target) == record.sha256 else "changed since"
    except OSError:
        return "not readable"


def record_of(line: bytes | str) -> Record | None:
    """The record of a line; None if it is damaged."""
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


def rows_of(path: Path) -> list[Record]:
    """The records of one list; lines that are damaged are left out."""
    return [record for line in lines_of(path) if (record := record_of(line)) is not None]
