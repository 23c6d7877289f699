"""Object stores, by pyarrow's file systems: what lies below a prefix, how objects come from there and go there.

What an object is at some moment is told by its stamp, "SIZE@SECONDS": two stores' clocks are never compared.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from residiff.errors import ConfigError, ImageDecodeError, ResourceError
from residiff.files import replacing
from residiff.restore.jobs import Place

Done = TypeVar("Done")
# Of pyarrow.fs, which has no types
Store: TypeAlias = Any
# Seconds before each further try
_WAITS = (1.0, 4.0)


def is_uri(text: str) -> bool:
    """Whether `text` names something in an object store, not a file."""
    return "://" in text


def bare_uri(base: str) -> str:
    """A URI without what it says of how the store is reached, which may be secret."""
    return base.partition("?")[0]


def as_base(text: str) -> str:
    """The URI of a prefix, of a path if it is none."""
    return text if is_uri(text) else Path(text).absolute().as_uri()


def stamps_below(base: str, *, recursive: bool) -> dict[str, str]:
    """The objects below `base` by their names there, with their stamps; none where there is no such prefix.

    Raises
    ------
    ConfigError
        If no store is known by such a URI.
    ResourceError
        If it cannot be reached, or pyarrow is missing.
    """
    store, root = _opened(base)
    select = _library().FileSelector(root, recursive=recursive, allow_not_found=True)
    found = _tried(lambda: store.get_file_info(select), f"cannot list {bare_uri(base)}")
    return {info.path[len(root) :].lstrip("/"): _stamp(info) for info in found if info.is_file}


def stamp_of(place: Place) -> str:
    """The stamp of an object; empty if it is not there."""
    store, path = _located(place)
    info = _tried(lambda: store.get_file_info(path), f"cannot look at {place.uri}")
    return _stamp(info) if info.is_file else ""


def fetch(place: Place, path: Path) -> None:
    """Copy an object to a file; `ImageDecodeError` if it is not there, `ResourceError` if the store fails."""
    store, name = _located(place)
    local = _library().LocalFileSystem()
    copy = functools.partial(_library().copy_files, name, str(path), store, local)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _tried(copy, f"cannot fetch {place.uri}")
    except FileNotFoundError as error:
        raise ImageDecodeError(f"{place.uri} is not there any more") from error


def put(path: Path, place: Place) -> None:
    """Copy a file to an object, of which there is never half; `ResourceError` if the store does not take it."""
    store, name = _located(place)
    local = _library().LocalFileSystem()
    if isinstance(store, _library().LocalFileSystem):
        with replacing(Path(name)) as file:
            file.write(path.read_bytes())
    else:
        _tried(lambda: _library().copy_files(str(path), name, local, store), f"cannot write {place.uri}")


def remove(place: Place) -> None:
    """Remove an object."""
    store, name = _located(place)
    _tried(lambda: store.delete_file(name), f"cannot remove {place.uri}")


def _located(place: Place) -> tuple[Store, str]:
    store, root = _opened(place.base)
    return store, f"{root}/{place.name}"


@functools.cache
def _opened(base: str) -> tuple[Store, str]:
    """The store of a URI, and what it calls the prefix."""
    try:
        store, root = _library().FileSystem.from_uri(base)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise ConfigError(f"cannot open {bare_uri(base)}: {error}; known are s3://, gs:// and file://") from error
    except OSError as error:
        raise ResourceError(
            f"cannot reach {bare_uri(base)}: {error}; look at the address and your credentials"
        ) from error
    return store, str(root).rstrip("/")


def _library() -> Any:  # noqa: ANN401
    try:
        from pyarrow import fs
    except ImportError as error:
        raise ResourceError('object stores need pyarrow; install it: pip install "residiff[ray]"') from error
    return fs


def _stamp(info: Any) -> str:  # noqa: ANN401
    # Some stores give fractions of a second where they list, and none where they are asked for one object
    return f"{info.size}@{(info.mtime_ns or 0) // 10**9}"


def _tried(work: Callable[[], Done], what: str) -> Done:
    """What `work` gives, tried a few times where the store fails; `FileNotFoundError` comes through."""
    for wait in (*_WAITS, None):
        try:
            return work()
        except FileNotFoundError:
            raise
        except OSError as error:
            if wait is None:
                raise ResourceError(f"{what}: {error}; look at the address, your rights, and the network") from error
            time.sleep(wait)
    raise RuntimeError("there is a last try")
