"""The lists of a run whose results are in an object store: kept in a folder here, and copied there as they grow.

Objects cannot be appended to, so each copy is a whole one; it waits twenty times as long as the last one took, and a
minute at least, so that copying never takes more than a twentieth of the time. What a killed run had not copied yet
is done again.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from residiff.errors import ResourceError
from residiff.restore.cluster.places import as_base, fetch, put, remove, stamps_below
from residiff.restore.jobs import Place
from residiff.restore.manifest import FAILURES, NAME

_LISTS = (f"{NAME}*.jsonl", f"{FAILURES}*.jsonl")
EVERY = 60.0
_SHARE = 20


@contextlib.contextmanager
def mirrored(output: str) -> Iterator[Path]:
    """A folder with the lists of the prefix `output`; what changes there is copied back until the end, and at it.

    Raises
    ------
    ConfigError, ResourceError
        If the store cannot be reached; or at the end, if it does not take the lists.
    """
    with tempfile.TemporaryDirectory(prefix="residiff-") as name:
        lists = _Lists(Path(name), as_base(output))
        lists.fetch()
        ended = threading.Event()
        thread = threading.Thread(target=lists.keep, args=(ended,), daemon=True)
        thread.start()
        try:
            yield lists.folder
        finally:
            ended.set()
            thread.join()
            lists.copy()


class _Lists:
    """The lists in `folder` and below the URI `base`."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder, self.base = folder, base
        # Of each that is there, what it was here when it was copied
        self._copied: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        for name in stamps_below(self.base, recursive=False):
            if _is_list(name):
                fetch(Place(self.base, name), self.folder / name)
                self._copied[name] = _state(self.folder / name)

    def keep(self, ended: threading.Event) -> None:
        wait = EVERY
        while not ended.wait(wait):
            began = time.monotonic()
            # What fails now is tried again, and at the end said
            with contextlib.suppress(ResourceError):
                self.copy()
            wait = max(EVERY, _SHARE * (time.monotonic() - began))

    def copy(self) -> None:
        here = {path.name: _state(path) for path in self.folder.iterdir() if _is_list(path.name)}
        for name in [name for name in self._copied if name not in here]:
            remove(Place(self.base, name))
            del self._copied[name]
        for name, state in here.items():
            if self._copied.get(name) != state:
                put(self.folder / name, Place(self.base, name))
                self._copied[name] = state


def _is_list(name: str) -> bool:
    return any(fnmatch(name, each) for each in _LISTS)


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns
