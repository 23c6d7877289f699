"""What the page needs of whoever computes: `residiff.web.Jobs`, or anything that stands for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from residiff.web import Failure, ModelEntry, Product, Snapshot, Work


class Run(Protocol):
    """A picture on its way."""

    @property
    def result(self) -> Product | None:
        """Of one that is done."""

    @property
    def error(self) -> Failure | None:
        """Of one that has failed or was cancelled."""

    def events(self) -> Iterator[Snapshot]:
        """Where it stands: at once, at each change, and at its end; waits for each."""

    def cancel(self) -> None:
        """Have it stopped, within a step; nothing where it has ended. From any thread."""


class Engine(Protocol):
    """Whoever computes."""

    @property
    def models(self) -> Sequence[ModelEntry]:
        """What there is, in the order in which it is shown; none before it is ready."""

    def wait_ready(self, timeout: float) -> bool:
        """Wait until pictures are taken, `timeout` seconds at most; whether they are."""

    def submit(self, work: Work) -> Run:
        """Take a picture; a `ResidiffError` where it cannot be, a `BusyError` of them where it may be later."""
