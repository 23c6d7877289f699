"""The one exception tree that residiff raises, each class with the exit code the command line ends with."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

# Of what torch and the libraries below it say when memory runs out, in small letters: devices, CPU (Linux, Windows),
# cuBLAS and cuDNN, C++
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "bad_alloc")


class ResidiffError(Exception):
    """Base of every error that residiff raises on purpose; its message names the cause and the mend."""

    exit_code = 1


class ConfigError(ResidiffError, ValueError):
    """A setting, recipe, option or name is not usable; says which value and what is allowed."""

    exit_code = 2


class ImageError(ResidiffError):
    """An image cannot be used."""

    exit_code = 3


class ImageDecodeError(ImageError):
    """The bytes are not a whole, readable image."""


class ImageTooLargeError(ImageError):
    """The image has more pixels than the limit allows; found before any pixel is decoded."""


class ImageUnsupportedError(ImageError):
    """The file is of a kind that residiff does not read or write."""


class ModelFileError(ResidiffError):
    """A model file is damaged, unsafe or not one of residiff's."""

    exit_code = 4


class CheckpointError(ModelFileError):
    """A training checkpoint is missing, incomplete or damaged."""


class ResourceError(ResidiffError):
    """The machine lacks something: disk space, permission, memory, an optional package."""

    exit_code = 5


class LockedError(ResidiffError):
    """The output is in use by another run."""

    exit_code = 6


class DivergedError(ResidiffError):
    """Training met a loss or gradient that is not finite."""

    exit_code = 7


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `ConfigError` unless `value` is a number within [low, high]."""
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; allowed are {low} to {high}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised `error` because memory ran out: torch's for the CPU has no class for it."""
    said = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
    refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return said or refused or isinstance(error, MemoryError)


@contextlib.contextmanager
def memory_errors(message: str) -> Iterator[None]:
    """Turn what allocators raise when memory runs out into a `ResourceError` of `message`, which names the mend."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(message) from error
