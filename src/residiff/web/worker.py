"""The process in which a server decodes, computes and encodes: one job at a time, and as nice as it can be.

It is told of jobs, and to stop one; it tells of steps, previews, and of what became of each. When the server is gone it
ends by itself.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch

from residiff.data import images
from residiff.data.images import Format, ImageFile
from residiff.errors import ModelFileError, ResidiffError
from residiff.memory import give_back
from residiff.restore import Decoded, Options, Restorer, Sources, answers_to, compute, decode, encode, memory_errors
from residiff.web.faults import CANCELLED, Failure
from residiff.web.watching import StoppedError, Watch
from residiff.web.wire import Message, receive, send
from residiff.web.work import ModelEntry, Progress, Work, download_name

logger = logging.getLogger(__name__)

# Of a process that gives way to others, the server's own among them
_NICENESS = 10


class Loader(Protocol):
    """Loads models, as `residiff.restore.load` does."""

    def __call__(self, source: str, device: str, *, backend: str) -> Restorer:
        """A restorer of `source`."""


@dataclass(frozen=True)
class Setup:
    """What a worker works with.

    Attributes
    ----------
    models : what each is loaded from, by name
    device, backend, threads : of computing
    loaded : how many models stay in memory
    load : loads them
    """

    models: Mapping[str, str]
    device: str
    backend: str
    threads: int | None
    loaded: int
    load: Loader


def work(connection: Connection, setup: Setup) -> None:
    """Work for the server at the other end of `connection` until it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # The server says when to end: its jobs may go on for a while
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        os.nice(max(0, _NICENESS - os.nice(0)))
    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    desk = _Desk(connection)
    library = _Library(setup)
    try:
        entries = [ModelEntry.of(name, library.get(name).descriptor)._asdict() for name in setup.models]
    except ResidiffError as error:
        desk.send("unfit", {"message": str(error), "exit_code": error.exit_code})
        return
    desk.send("ready", {"models": entries})
    while True:
        job = desk.next()
        _answer(desk, library, job)
        del job
        gc.collect()
        give_back()


class _Desk:
    """What comes in and goes out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stopped = ""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Message:
        """The next job."""
        return self._jobs.get()

    def is_stopped(self, job: str) -> bool:
        """Whether a job has been told to stop."""
        return self._stopped == job

    def send(self, kind: str, facts: Mapping[str, Any], blobs: Mapping[str, bytes] | None = None) -> None:
        """Tell the server."""
        send(self._connection, kind, facts, blobs)

    def _read(self) -> None:
        while True:
            try:
                message = receive(self._connection)
            except (EOFError, OSError):
                # Whatever is being computed, nobody waits for it
                os._exit(0)
            if message.kind == "stop":
                self._stopped = message.facts["id"]
            else:
                self._jobs.put(message)


class _Library:
    """Models in memory, the last used ones."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._held: OrderedDict[str, Restorer] = OrderedDict()

    def get(self, name: str) -> Restorer:
        """The model of a name, loaded where it is not there."""
        if name not in self._held:
            while len(self._held) >= self._setup.loaded:
                self._held.popitem(last=False)
            source, setup = self._setup.models[name], self._setup
            self._held[name] = setup.load(source, setup.device, backend=setup.backend)
            # What stays need not be looked through after each job
            gc.freeze()
        self._held.move_to_end(name)
        return self._held[name]


def _answer(desk: _Desk, library: _Library, message: Message) -> None:
    """Do a job and tell what became of it."""
    job = message.facts["id"]
    try:
        facts, blobs = _done(desk, library, job, Work.unpacked(message.facts["work"], message.blobs))
        desk.send("done", {"id": job, **facts}, blobs)
    except StoppedError:
        desk.send("failed", {"id": job, "failure": CANCELLED.facts()})
    except Exception as error:
        if not isinstance(error, ResidiffError):
            logger.exception("job %s", job)
        desk.send("failed", {"id": job, "failure": Failure.of(error).facts()})


def _done(desk: _Desk, library: _Library, job: str, asked: Work) -> tuple[dict[str, Any], dict[str, bytes]]:
    restorer = _loaded(library, asked.model)
    options, format = asked.options(), asked.written_as()

    def tell(progress: Progress, preview: bytes | None) -> None:
        desk.send("step", {"id": job, "progress": progress}, {} if preview is None else {"preview": preview})

    with warnings.catch_warnings(record=True) as caught, memory_errors():
        warnings.simplefilter("always")
        began = time.monotonic()
        mask = None if asked.mask is None else ImageFile("the mask", asked.mask)
        decoded = decode(Sources(ImageFile(asked.name, asked.image), mask), options, format)
        watch = _watch(restorer, decoded, options, asked.show_steps, tell, lambda: desk.is_stopped(job))
        with watch.following(restorer):
            restored, more = _computed(decoded, restorer, options)
        result = encode(decoded, restored, restorer, options, format)
    facts = {
        "format": format.value,
        "name": download_name(asked, format),
        "seconds": time.monotonic() - began,
        "change": result.change,
        "hint": result.hint,
        "warnings": [str(each.message) for each in caught if issubclass(each.category, images.ImageWarning)],
    }
    return facts, {"data": result.data, **more, **watch.shown}


def _loaded(library: _Library, name: str) -> Restorer:
    try:
        return library.get(name)
    except ResidiffError as error:
        logger.error("model %s cannot be loaded again: %s", name, error)
        raise ModelFileError(f"model {name!r} cannot be loaded; the server's log says why") from error


def _watch(
    restorer: Restorer,
    decoded: Decoded,
    options: Options,
    shows_steps: bool,
    tell: Callable[[Progress, bytes | None], None],
    is_stopping: Callable[[], bool],
) -> Watch:
    height, width = decoded.picture.pixels.shape[1:]
    steps = (restorer.descriptor.steps if options.steps is None else options.steps) * options.samples
    tiling = restorer.tiling(height, width, options.tile)
    tiled = 0.0 if tiling is None else tiling.shown
    return Watch((height, width), steps, tell, is_stopping, shows_steps, tiled_pixels=tiled)


def _computed(decoded: Decoded, restorer: Restorer, options: Options) -> tuple[images.Picture, dict[str, bytes]]:
    """The restored picture, and of several samples where they disagree."""
    if options.samples == 1:
        return compute(decoded, restorer, options), {}
    answers = answers_to(decoded, restorer, options)
    pictures = {"deviation.png": answers.deviation_picture(), "doubt.png": answers.doubt()}
    return answers.mean, {name: images.encode(picture, Format.PNG) for name, picture in pictures.items()}
