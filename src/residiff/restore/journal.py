"""Lists that grow while a run goes on, a JSON object a line, and can be read whatever moment it broke off at.

Writing them anew for each line, as all other files are, would make the work of a long run grow with its square. So
lines are appended, each in one write that is synced before the next thing is done. A line that a crash cut short is
the last; it is passed over when the file is read, and cut off before anything is added.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

from residiff.files import environment_errors, sync_folder


@final
class Journal:
    """Appends to a list, which is made when the first line comes; threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Append one line, which holds no line break; it is on the disk when this returns.

        Raises
        ------
        ResourceError
            If the disk is full or the file may not be written to; it is then as it was.
        """
        with self._lock, environment_errors(self.path):
            handle = self._open()
            before = os.fstat(handle).st_size
            try:
                _write(handle, line.encode() + b"\n")
                os.fsync(handle)
            except BaseException:
                os.ftruncate(handle, before)
                raise

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
            _cut_to_whole_lines(self._handle)
            sync_folder(self.path.parent)
        return self._handle

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


def lines_of(path: Path) -> Iterator[bytes]:
    """The whole lines of a list, which need not exist; `ResourceError` if it cannot be read."""
    if not path.is_file():
        return
    with environment_errors(path), path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def as_line(row: Mapping[str, object]) -> str:
    """A row as JSON in one line of ASCII, whatever names hold."""
    return json.dumps(row, separators=(",", ":"))


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _cut_to_whole_lines(handle: int, block: int = 1 << 16) -> None:
    """Cut off what follows the last line break."""
    end = os.fstat(handle).st_size
    while end > 0:
        start = max(0, end - block)
        os.lseek(handle, start, os.SEEK_SET)
        last = os.read(handle, end - start).rfind(b"\n")
        if last >= 0:
            end = start + last + 1
            break
        end = start
    if end < os.fstat(handle).st_size:
        os.ftruncate(handle, end)
