"""Writing files so that a crash at any moment leaves the old file or the new one, never half of either.

The rule is: a temporary file in the same folder, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from residiff.errors import LockedError, ResourceError

# Of files that are being written
PREFIX, SUFFIX = ".residiff-", ".tmp"


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable. Windows has no such call, and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def environment_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` met at `path` into a `ResourceError` that says what to mend."""
    try:
        yield
    except OSError as error:
        mends = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EACCES: "permission denied: choose a folder that you may write to",
            errno.EEXIST: "a file of that name is in the way: choose another place",
            errno.ENOTDIR: "a file is in the way of a folder: choose another place",
            errno.EROFS: "the file system is read-only: choose another folder",
        }
        mend = mends.get(error.errno or 0, error.strerror or str(error))
        raise ResourceError(f"cannot write {path}: {mend}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` atomically and durably when all is well; parents are made.

    Raises
    ------
    ResourceError
        If the disk is full or the place may not be written to; no temporary file is left behind.
    """
    with environment_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `replacing` does; a `ResourceError` where that fails."""
    with replacing(path) as file:
        file.write(data)


def sweep(folders: Iterable[Path], seconds: float = 0.0) -> None:
    """Remove what killed runs left half-written in `folders` (not below them), if it is older than `seconds`."""
    for folder in folders:
        for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
            # Another run may have been faster, or may not be ours to clear up after
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime >= seconds:
                    path.unlink()


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, of which little is in memory at a time; `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder: Path, part: str = "") -> Iterator[None]:
    """Hold `folder` (made if need be) for this process alone; the lock dies with the process.

    With `part`, as "1-of-3", only that part of the work in it is held: others may hold other parts, but none the whole.
    A folder that was made here and into which nothing was put is taken away again.

    Raises
    ------
    LockedError
        If another process holds it.
    ResourceError
        If its file system has no locks.
    """
    with environment_errors(folder):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        # On Windows there are no shared locks
        if not part or os.name != "nt":
            held.enter_context(_locked(folder, ".lock", shared=bool(part)))
        if part:
            held.enter_context(_locked(folder, f".lock-{part}"))
        try:
            yield
        finally:
            if is_new and not part:
                _leave(folder)


def _leave(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if all(path.name.startswith(".lock") for path in folder.iterdir()):
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


@contextlib.contextmanager
def _locked(folder: Path, name: str, *, shared: bool = False) -> Iterator[None]:
    with environment_errors(folder):
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock_file(handle, folder, shared)
        if not _is_there(handle, folder / name):
            raise LockedError(f"{folder} was in use by another run until now; start again")
        yield
    finally:
        os.close(handle)


def _is_there(handle: int, path: Path) -> bool:
    """Whether `path` is still the open file; else the run that had it has taken it away."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock_file(handle: int, folder: Path, shared: bool) -> None:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise ResourceError(f"cannot lock {folder}: {error.strerror}; take a folder on another disk") from error
        raise LockedError(f"{folder} is in use by another run; wait for it, or take another folder") from error
