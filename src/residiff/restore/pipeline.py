"""Work of which several pieces are under way at once: read ahead, computed one after the other, written behind.

    reading threads     fetch, decode        in the order of the list, as far ahead as there is room
    the caller          compute              one call after the other, a few pieces of one kind in each
    writing threads     encode, write        behind

Pieces come back in the order of the list. What is in memory is bounded by the number of pieces under way, and by the
sum of their weights where they are heavy.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar, final

# Seconds that threads are given to finish what they are writing
GRACE = 3.0
_LOOK = 0.2


class Task(Protocol):
    """A piece of work. What it raises ends all of it; what is wrong with one piece it must keep to itself."""

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be done but to give it back: it failed, or needed nothing."""

    @property
    def kind(self) -> Hashable | None:
        """Pieces of one kind may be computed in one call, one of kind None alone. Asked for when it is decoded."""

    def fetch(self) -> int:
        """Read what it needs; gives its weight, which is 0 for a light one."""

    def decode(self) -> None:
        """Make ready to be computed."""

    def encode(self) -> None:
        """Make ready to be written."""

    def write(self) -> None:
        """Put what was made in its place."""


Piece = TypeVar("Piece", bound=Task)


@dataclass(frozen=True)
class Limits:
    """How much is under way.

    Attributes
    ----------
    batch : the most pieces in a call
    threads : that read, and as many that write
    weight : the most that the heavy pieces under way weigh together; a heavier one is under way alone
    """

    batch: int = 1
    threads: int = 1
    weight: int = 16_000_000

    @property
    def window(self) -> int:
        """How many pieces may wait for others of their kind."""
        return 4 * self.batch if self.batch > 1 else 1

    @property
    def pieces(self) -> int:
        """How many are under way: waiting for their kind, being computed, and with the threads."""
        return self.window + self.batch + 2 * self.threads


@dataclass(eq=False)
class _Entry(Generic[Piece]):
    task: Piece
    weight: int = 0
    decoded: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


def overlapped(
    tasks: Iterable[Piece],
    compute: Callable[[list[Piece]], None],
    limits: Limits = Limits(),  # noqa: B008
) -> Iterator[Piece]:
    """Do all tasks, and give each back when it and all before it are done.

    `compute` is called in this thread, with up to `limits.batch` tasks of one kind, some of which may be settled after
    it. Which go together depends on the list alone. Where the iteration is given up, tasks that are not being written
    are dropped.
    """
    flow = _Flow(tasks, limits)
    try:
        yield from flow.run(compute)
    finally:
        flow.close()


@final
class _Kinds(Generic[Piece]):
    """Gathers entries of one kind, each waiting for no more than a window of others."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._count = limits, 0
        self._groups: dict[Hashable, tuple[int, list[_Entry[Piece]]]] = {}

    def add(self, entry: _Entry[Piece]) -> Iterator[list[_Entry[Piece]]]:
        """Take one more; gives the groups that are to be computed now."""
        self._count += 1
        kind = entry.task.kind if self._limits.batch > 1 and not entry.task.settled else None
        if kind is None:
            yield [entry]
        else:
            _, group = self._groups.setdefault(kind, (self._count, []))
            group.append(entry)
            if len(group) == self._limits.batch:
                del self._groups[kind]
                yield group
        while self._groups and self._oldest() <= self._count - self._limits.window:
            yield self._groups.pop(next(iter(self._groups)))[1]

    def rest(self) -> Iterator[list[_Entry[Piece]]]:
        """The groups that are not full."""
        yield from (group for _, group in self._groups.values())

    def _oldest(self) -> int:
        return next(iter(self._groups.values()))[0]


@final
class _Flow(Generic[Piece]):
    """The threads, and what they hand on."""

    def __init__(self, tasks: Iterable[Piece], limits: Limits) -> None:
        self._limits, self._source = limits, iter(tasks)
        self._read: SimpleQueue[_Entry[Piece] | None] = SimpleQueue()
        self._made: SimpleQueue[_Entry[Piece] | None] = SimpleQueue()
        self._turn, self._room = threading.Lock(), threading.Condition()
        self._count = self._weight = 0
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        work = [self._read_on, self._write_on] * limits.threads
        self._threads = [threading.Thread(target=self._guarded, args=(each,), daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def run(self, compute: Callable[[list[Piece]], None]) -> Iterator[Piece]:
        """Compute what is decoded, and give back what is done."""
        kinds, waiting = _Kinds[Piece](self._limits), deque[_Entry[Piece]]()
        while (entry := self._taken()) is not None:
            self._wait(entry.decoded)
            waiting.append(entry)
            for group in kinds.add(entry):
                self._compute(group, compute)
            while waiting and waiting[0].done.is_set():
                yield waiting.popleft().task
        for group in kinds.rest():
            self._compute(group, compute)
        for entry in waiting:
            self._wait(entry.done)
            yield entry.task

    def close(self) -> None:
        """Let the threads finish what they are writing, and end them."""
        self._stopping.set()
        with self._room:
            self._room.notify_all()
        for _ in range(self._limits.threads):
            self._made.put(None)
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _taken(self) -> _Entry[Piece] | None:
        while True:
            try:
                return self._read.get(timeout=_LOOK)
            except Empty:
                self._check()

    def _wait(self, event: threading.Event) -> None:
        while not event.wait(_LOOK):
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _compute(self, group: list[_Entry[Piece]], compute: Callable[[list[Piece]], None]) -> None:
        self._check()
        if tasks := [entry.task for entry in group if not entry.task.settled]:
            compute(tasks)
        for entry in group:
            self._made.put(entry)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        # Raised again in the thread that waits for this one
        except BaseException as error:
            self._error = self._error or error

    def _read_on(self) -> None:
        while (entry := self._next()) is not None:
            if not entry.task.settled:
                entry.task.decode()
            entry.decoded.set()
        self._read.put(None)

    def _next(self) -> _Entry[Piece] | None:
        """The next one, fetched, as soon as there is room for it."""
        with self._turn:
            self._take_room(lambda: self._count < self._limits.pieces)
            task = None if self._stopping.is_set() else next(self._source, None)
            if task is None:
                return None
            entry = _Entry(task)
            self._count += 1
            self._read.put(entry)
            weight = 0 if task.settled else task.fetch()
            self._take_room(lambda: not self._weight or self._weight + weight <= self._limits.weight)
            with self._room:
                entry.weight = weight
                self._weight += weight
            return entry

    def _take_room(self, is_there: Callable[[], bool]) -> None:
        with self._room:
            self._room.wait_for(lambda: self._stopping.is_set() or is_there())

    def _write_on(self) -> None:
        while (entry := self._made.get()) is not None:
            for stage in (entry.task.encode, entry.task.write):
                if not entry.task.settled and not self._stopping.is_set():
                    stage()
            with self._room:
                self._count -= 1
                self._weight -= entry.weight
                self._room.notify_all()
            entry.done.set()
