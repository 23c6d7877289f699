"""A process that restores what it is told to: it loads the model once, and lives as long as the run.

Where a worker dies, another one is given the same errands. It does them one after the other and counts its tries, so
that a picture of which workers die is given up alone.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final

import torch

from residiff.errors import ResidiffError, ResourceError
from residiff.restore import Options, Restorer, There, restore_stream
from residiff.restore.cluster.desk import Desk
from residiff.restore.cluster.loading import Loading
from residiff.restore.cluster.messages import Errand, Reply

# How often a picture is tried alone, after its worker has died
ALONE = 2
# A remote function's name and a reference, of which Ray gives no types
Handle: TypeAlias = Any


@dataclass(frozen=True)
class Kit:
    """What every worker of a run has.

    Attributes
    ----------
    loading : of the model
    options : how pictures are restored
    output : the folder that the manifest is of
    there, exactly : as of `restore_all`; objects in a store have been looked at before
    threads : of the network
    """

    loading: Loading
    options: Options
    output: Path
    there: There = There.REPLACE
    exactly: bool = False
    threads: int = 1


class Counts(Protocol):
    """Counts tries; outlives the workers."""

    def next(self, name: str) -> int:
        """The number of this try, from 1."""


@final
class Tries:
    """How often each thing was begun."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, name: str) -> int:
        """The number of this try, from 1."""
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]


class Worker:
    """Restores errands; a fault in loading the model is told with the first.

    Parameters
    ----------
    kit : reference to a `Kit`
    tries : the actor of a `Tries`
    """

    def __init__(self, kit: Handle, tries: Handle) -> None:
        import ray

        self._ask, self._tries = ray.get, tries
        self._kit: Kit = ray.get(kit)
        self._crew: Crew | None = None

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        """For a column "errand" of texts, rows with a "reply" to each, in order."""
        errands = [Errand.of(str(text)) for text in batch["errand"]]
        try:
            self._crew = self._crew or Crew(self._kit, self)
            for reply in self._crew.replies(errands):
                yield {"reply": [reply.text()]}
        except ResidiffError as error:
            yield {"reply": [Reply.failed(errands[0].number, error, ends=True).text()]}

    def next(self, name: str) -> int:
        """The number of this try, of whatever worker."""
        return int(self._ask(self._tries.next.remote(name)))


@final
class Crew:
    """The model of a kit, and what is done with it."""

    def __init__(self, kit: Kit, counts: Counts) -> None:
        torch.set_num_threads(kit.threads)
        self._kit, self._counts = kit, counts
        self._restorer: Restorer = kit.loading.restorer()

    def replies(self, errands: Sequence[Errand]) -> Iterator[Reply]:
        """A reply to each errand, in their order: of a second try, Ray passes over as many as it got of the first.

        Raises
        ------
        ResidiffError
            If an error is not one picture's alone.
        """
        if self._counts.next(f"from {errands[0].number}") == 1:
            yield from self._done(errands)
            return
        for errand in errands:
            if self._counts.next(str(errand.number)) > ALONE:
                yield Reply.failed(errand.number, _fatal(errand))
            else:
                for reply in self._done([errand]):
                    yield reply if reply.error or reply.skipped else replace(reply, remade="begun when a worker died")

    def _done(self, errands: Sequence[Errand]) -> Iterator[Reply]:
        kit = self._kit
        with _folder(errands) as folder, contextlib.closing(Desk(errands, kit.output, folder)) as desk:
            outcomes = restore_stream(
                desk.jobs(),
                self._restorer,
                kit.options,
                there=kit.there,
                manifest=desk,
                exactly=kit.exactly,
                threads=1,
            )
            for outcome in outcomes:
                desk.take(outcome)
                yield from desk.ready()
            yield from desk.rest()


@contextlib.contextmanager
def _folder(errands: Sequence[Errand]) -> Iterator[Path | None]:
    """Where objects of a store are put; None where there are none."""
    if all(errand.job.remote is None for errand in errands):
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="residiff-") as name:
            yield Path(name)


def _fatal(errand: Errand) -> ResourceError:
    return ResourceError(
        f"{errand.job.origin}: {1 + ALONE} workers died while they restored it, most often for want of memory; "
        "restore it alone, with a smaller --tile or fewer workers"
    )
