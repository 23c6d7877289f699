"""Work that several processes share, a few pieces at a time, its results in the order of the pieces."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Done = TypeVar("Done")

# Of processes that are not copies of this one and its threads; Windows has no other
CONTEXT = "spawn" if os.name == "nt" else "forkserver"
_AT_ONCE = 8
_AHEAD = 3


def spread(
    work: Callable[[Piece], Done],
    pieces: Iterable[Piece],
    workers: int,
    begin: Callable[..., None] | None = None,
    arguments: Sequence[object] = (),
) -> Iterator[Done]:
    """What `map` gives, by `workers` processes of one thread each; few pieces are under way, so that memory stays flat.

    `begin` is called with `arguments` in each process first. `work`, `begin` and all that comes and goes must pickle.
    What `work` raises is raised here, in the order of the pieces, and ends the processes.
    """
    context = get_context(CONTEXT)
    if CONTEXT == "forkserver":
        # Imported once for all of them
        context.set_forkserver_preload([_module_of(work)])
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(begin, arguments))
    try:
        waiting: deque[Future[list[Done]]] = deque()
        source = iter(pieces)
        while part := list(islice(source, _AT_ONCE)):
            waiting.append(pool.submit(_all, work, part))
            if len(waiting) >= _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _module_of(work: Callable[..., object]) -> str:
    return str(getattr(getattr(work, "func", work), "__module__", __name__))


def _start(begin: Callable[..., None] | None, arguments: Sequence[object]) -> None:
    torch.set_num_threads(1)
    if begin is not None:
        begin(*arguments)


def _all(work: Callable[[Piece], Done], part: list[Piece]) -> list[Done]:
    return [work(piece) for piece in part]
