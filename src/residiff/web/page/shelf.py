"""The page's files on disk: a folder that Gradio serves from, emptied of what is old, and gone at the end."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from residiff.web.page.archives import safe_name

# Seconds that what was uploaded or made is kept
AGE = 3600.0
# Gradio asks for it again and again
_TOLD_BY = "GRADIO_TEMP_DIR"


class Shelf:
    """A folder that nobody else can read; files lie in folders of random names, and keep their own.

    Gradio keeps its files there too, as long as it is not closed; it should be there before Gradio is imported.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="residiff-page-"))
        # Where a server is ended at once, nobody closes it
        atexit.register(self.close)
        self._before = os.environ.get(_TOLD_BY)
        os.environ[_TOLD_BY] = str(self.folder)

    def place(self, name: str) -> Path:
        """Where a file that people know as `name` can be written."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / safe_name(Path(name).name)

    def put(self, name: str, data: bytes) -> str:
        """Write a file; gives its path."""
        path = self.place(name)
        path.write_bytes(data)
        return str(path)

    def held(self, age: float = AGE) -> int:
        """Bytes that lie there, once what is older than `age` seconds is gone."""
        self.sweep(age)
        total = 0
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
        return total

    def sweep(self, age: float = AGE) -> None:
        """Remove files that are older than `age` seconds, and folders that are empty."""
        limit = time.time() - age
        for path in sorted(self.folder.rglob("*"), reverse=True):
            # Another request may sweep as well
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime >= limit:
                    continue
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()

    def close(self) -> None:
        """Remove it with all that is in it; once is enough."""
        atexit.unregister(self.close)
        if os.environ.get(_TOLD_BY) == str(self.folder):
            os.environ.pop(_TOLD_BY)
            if self._before is not None:
                os.environ[_TOLD_BY] = self._before
        shutil.rmtree(self.folder, ignore_errors=True)
