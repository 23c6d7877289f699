"""What is to be done with one picture, what became of it, and which part of many is whose."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from residiff.errors import ConfigError, ResidiffError

# Root mean square of the change, in grey levels of 255, below which a picture counts as left as it was
HARDLY = 0.5


@dataclass(frozen=True)
class Place:
    """Where an object is: `name`, with slashes, below the URI `base` of a store's prefix."""

    base: str
    name: str

    @property
    def uri(self) -> str:
        """As text, without what the base says of how the store is reached."""
        return f"{self.base.partition('?')[0].rstrip('/')}/{self.name}"


@dataclass(frozen=True)
class Remote:
    """The objects of a job, and the state that each was found in: empty for one that is not there."""

    source: Place
    target: Place
    mask: Place | None = None
    stamps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One picture: what is read, with which mask, and what is written.

    Where they are objects in a store, `remote` says which, and the paths are names alone.
    """

    source: Path
    target: Path
    mask: Path | None = None
    remote: Remote | None = None

    @property
    def origin(self) -> str:
        """Where the picture is from, as text."""
        return str(self.source) if self.remote is None else self.remote.source.uri


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    error : why there is no result; None where there is one, or one was there
    skipped : whether a result was there, and left
    remade : why a result that was there was made again; empty where none was there
    seconds : that the network took
    around : seconds that reading, decoding, encoding and writing took, beside it
    pixels : of the picture
    change : root mean square of the difference between picture and result, in grey levels of 255
    whole : False where the file was cut short, and the rest of it restored
    """

    job: Job
    error: ResidiffError | None = None
    skipped: bool = False
    remade: str = ""
    seconds: float = 0.0
    around: float = 0.0
    pixels: int = 0
    change: float = 0.0
    whole: bool = True

    @property
    def hint(self) -> str:
        """What may be the cause if the result hardly differs from the picture; empty if it differs or there is none."""
        return "" if self.error is not None or self.skipped else alike(self.job.target.name, self.change)


def alike(name: str, change: float) -> str:
    """Why a result may hardly differ from its input, by a root mean square of `change` grey levels; else empty."""
    if change >= HARDLY:
        return ""
    told = "equals its input" if change == 0 else "hardly differs from its input"
    return f"{name} {told}: {CAUSES}"


CAUSES = (
    "the strength may be 0 or small, the mask black, the picture transparent, or free of what the model is for; "
    "`residiff models info` says what that is"
)


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 1: whose pictures depend on their names alone, so that no other part has them.

    Raises
    ------
    ConfigError
        If there is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                f"shard is {self.index}/{self.count}; allowed are 1/{self.count} to {self.count}/{self.count}"
            )

    @classmethod
    def of(cls, text: str) -> Shard:
        """The shard that "2/3" means."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        if found is None or not int(found[2]):
            raise ConfigError(f"shard is {text!r}; give which part of how many, 1/3 say")
        return cls(int(found[1]), int(found[2]))

    @property
    def label(self) -> str:
        """As it stands in the names of files: "2-of-3"."""
        return f"{self.index}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Whether the picture is in this part whose path in the output folder is `name`, with slashes."""
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def shown(name: str | Path) -> str:
    """A name as text: bytes of it that are no letters stand as a backslash, x and two digits."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def name_in(job: Job, output: Path) -> str:
    """The path of a job's target in the output folder, with slashes; its name if it is the output itself."""
    return job.target.relative_to(output).as_posix() if job.target != output else job.target.name
