"""The one exception tree that residiff raises, each class with the exit code the command line ends with."""

from __future__ import annotations


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
