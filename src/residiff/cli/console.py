"""What the commands share: consoles, progress bars and tables. Data go to stdout, all else to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

Item = TypeVar("Item")


class _Output(Console):
    def on_broken_pipe(self) -> NoReturn:
        """End as other programs do whose reader has had enough; rich, and typer after it, would say 1, our bug."""
        try:
            super().on_broken_pipe()
        finally:
            sys.exit(141)


out = _Output(highlight=False)
notes = Console(stderr=True, highlight=False, soft_wrap=True)
_signals: list[int] = []
# Seconds within which a signal may come again by another way: to a whole group, and from those that pass it on
ECHO = 1.0


def end_on_signals() -> None:
    """Let SIGTERM, and SIGINT and SIGHUP unless the parent has us ignore them, end it with 128 and their number."""
    for number in {signal.SIGTERM, *_heard("SIGINT", "SIGHUP")}:
        signal.signal(number, _end)


def _heard(*names: str) -> set[signal.Signals]:
    """Those that this system has, and that the parent does not have us ignore, as nohup does."""
    there = [number for number in signal.Signals if number.name in names]
    return {number for number in there if signal.getsignal(number) is not signal.SIG_IGN}


def _end(number: int, frame: object) -> NoReturn:
    _signals.append(number)
    sys.exit(128 + number)


def interruptible(items: Iterable[Item]) -> Iterator[Item]:
    """The items, until a signal comes whose exception was lost: C libraries swallow what is raised in a callback."""
    for item in items:
        if _signals:
            sys.exit(128 + _signals[0])
        yield item


@contextlib.contextmanager
def stop_on_signals(*, passed_on: bool = False) -> Iterator[Callable[[], bool]]:
    """Within it, signals that end a program only make what it gives say so; its end exits by the first of them.

    SIGUSR1, by which batch systems warn, and SIGHUP, of a lost terminal, end as SIGTERM does. Launchers, batch systems
    and service managers repeat and escalate: only a SIGINT that comes `ECHO` seconds or more after the first signal,
    from a person that is, ends the program at once. Where a launcher has `passed_on` what it got, none does: torchrun
    makes a SIGTERM of a person's second Ctrl-C.
    """
    caught: list[tuple[int, float]] = []

    def catch(number: int, frame: object) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and caught and now - caught[0][1] >= ECHO and not passed_on:
            sys.exit(128 + caught[0][0])
        if signal.Signals(number).name == "SIGHUP":
            _leave_the_terminal()
        caught.append((signal.SIGINT if number == signal.SIGINT else signal.SIGTERM, now))

    before = {number: signal.signal(number, catch) for number in _heard("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        sys.exit(128 + caught[0][0])


def _leave_the_terminal() -> None:
    """Write no more to a terminal that is lost, which would fail; what goes to files and pipes still does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(handle).st_mode):
                os.dup2(nowhere, handle)
    os.close(nowhere)


def silence() -> None:
    """Say errors alone from now on."""
    logging.getLogger("residiff").setLevel(logging.ERROR)


def note(text: str) -> None:
    """Say `text` on stderr, unless the user wants quiet."""
    if _talks():
        notes.print(text, markup=False)


def progress(*more: str) -> Progress:
    """A progress bar on stderr; nothing where stderr is no terminal or the user wants quiet.

    `more` are names of texts that tasks show behind their description.
    """
    columns = (
        TextColumn("{task.description}"),
        *(TextColumn(f"{{task.fields[{name}]}}") for name in more),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=notes, disable=not (_talks() and notes.is_terminal))


def show_json(data: object) -> None:
    """Print `data` as JSON on stdout."""
    out.out(json.dumps(data, indent=2, default=str))


def show_text(text: str) -> None:
    """Print `text` on stdout as it is."""
    out.out(text, end="")


def show_bytes(data: bytes) -> None:
    """Write `data` to stdout as it is."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        out.on_broken_pipe()


def show_table(rows: list[dict[str, object]], title: str = "") -> None:
    """Print rows of equal keys as a table on stdout."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for key in rows[0] if rows else []:
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


def _talks() -> bool:
    return logging.getLogger("residiff").level <= logging.INFO
