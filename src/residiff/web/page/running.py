"""A picture followed on its way: what the page says meanwhile, and who may stop it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import final

from residiff.errors import ResidiffError
from residiff.web import BusyError, Work
from residiff.web.page.engine import Engine, Run
from residiff.web.page.stage import STOPPED, Stage, share_of, told_at_end, told_of

# Seconds between two tries where there is no room, and how long it is tried
_AGAIN, _PATIENCE = 1.0, 120.0


@final
class Seats:
    """Who runs what, so that it can be stopped: by a button, or because the page was left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, Seat]] = defaultdict(dict)

    def take(self, session: str, tab: str) -> Seat:
        """A seat for what a tab of a session is about to run; what it ran before is stopped."""
        seat = Seat()
        with self._lock:
            before = self._held[session].get(tab)
            self._held[session][tab] = seat
        if before is not None:
            before.stop()
        return seat

    def stop(self, session: str, tab: str | None = None) -> None:
        """Stop what a tab of a session runs, or all that the session does, which is over then."""
        with self._lock:
            seats = self._held.get(session, {})
            found = list(seats.values()) if tab is None else [seats[tab]] if tab in seats else []
            if tab is None:
                self._held.pop(session, None)
        for seat in found:
            seat.stop()

    @property
    def sessions(self) -> int:
        """How many have run something and are still there."""
        return len(self._held)


@final
class Seat:
    """One thing that is run, picture after picture."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._is_stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be run."""
        return self._is_stopped.is_set()

    def stop(self) -> None:
        """Run nothing more; from any thread."""
        with self._lock:
            self._is_stopped.set()
            run = self._run
        if run is not None:
            run.cancel()

    def hold(self, run: Run) -> None:
        """Note what runs now."""
        with self._lock:
            self._run = run
            is_stopped = self.is_stopped
        if is_stopped:
            run.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait; whether it was stopped meanwhile."""
        return self._is_stopped.wait(seconds)


def follow(engine: Engine, work: Work, seat: Seat, *, patience: float = 0.0) -> Iterator[Stage]:
    """Have a picture restored and tell of it, up to a stage that is the last; it is given up where nobody listens.

    `patience` is for how many seconds it is tried again where there is no room.
    """
    try:
        run = _submitted(engine, work, seat, patience)
    except ResidiffError as error:
        yield Stage("Not possible.", error=str(error))
        return
    if run is None:
        yield Stage(STOPPED, error=STOPPED)
        return
    seat.hold(run)
    try:
        for snapshot in run.events():
            if not snapshot.state.is_final:
                yield Stage(told_of(snapshot), share_of(snapshot), snapshot.preview)
        yield _ended(run, seat)
    finally:
        run.cancel()


def patiently(engine: Engine, work: Work, seat: Seat) -> Iterator[Stage]:
    """As `follow`, for one picture of many: where there is no room it is tried again for two minutes."""
    return follow(engine, work, seat, patience=_PATIENCE)


def _submitted(engine: Engine, work: Work, seat: Seat, patience: float) -> Run | None:
    """The run; None where it was stopped before there was room."""
    until = time.monotonic() + patience
    while not seat.is_stopped:
        try:
            return engine.submit(work)
        except BusyError:
            if time.monotonic() >= until:
                raise
        seat.wait(_AGAIN)
    return None


def _ended(run: Run, seat: Seat) -> Stage:
    result, error = run.result, run.error
    if result is not None:
        return Stage(told_at_end(result), 1.0, result=result)
    if seat.is_stopped or error is None:
        return Stage(STOPPED, error=STOPPED)
    return Stage("Not possible.", error=error.message)
