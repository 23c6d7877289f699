"""What a server is asked to do, and what became of it; what cannot be done is refused from headers alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError, ImageTooLargeError, check_range
from residiff.restore import Descriptor, Options

MOST_SHOWN = 64
_MEDIA = {format: f"image/{format.value}" for format in Format}
_SUFFIXES = {format: f".{format.value}" for format in Format} | {Format.JPEG: ".jpg"}
_BLOBS = ("image", "mask")


class UnknownModelError(ConfigError):
    """There is no model of that name here; says the nearest."""


class TooMuchWorkError(ImageTooLargeError):
    """Pixels times steps times samples are more than a server does for one job."""


class ModelEntry(NamedTuple):
    """What a server says of a model, as `residiff.restore.Descriptor` has it."""

    name: str
    task: str
    summary: str
    steps: int
    max_steps: int
    needs_mask: bool
    size_multiple: int
    parameters: int
    sha256: str
    card: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, descriptor: Descriptor) -> ModelEntry:
        """The entry of a model that is asked for by `name`."""
        return cls(name, *(getattr(descriptor, field) for field in cls._fields[1:]))


class Progress(NamedTuple):
    """How many steps have been made, and of how many."""

    step: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Work:
    """A picture to be restored, and how: the bytes of its file and of its mask's, and `residiff.restore.Options`.

    Attributes
    ----------
    image, mask : files as they are on disk
    name : of the picture's file, without its folder
    model : a name that the server knows
    steps : of sampling; the model's own number if None
    format : "png", "jpg", "webp", "tiff", "avif" or "bmp"; None for that of the image (of a GIF, PNG)
    show_steps : whether the product has pictures of what each step made; of one sample of at most 64 steps
    """

    image: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    name: str = "image data"
    model: str = "denoise"
    steps: int | None = None
    seed: int = 0
    strength: float = 1.0
    samples: int = 1
    antithetic: bool = False
    format: str | None = None
    quality: int = 95
    bit_depth: int | None = None
    strip: bool = False
    keep: bool = False
    tile: str = "auto"
    allow_truncated: bool = False
    show_steps: bool = False

    def options(self) -> Options:
        """How it is restored; `ConfigError` names what cannot be."""
        fixed = (self.steps, self.seed, self.strength, self.format, self.quality, self.bit_depth, "", images.MAX_PIXELS)
        checked = Options.checked(*fixed, samples=self.samples, antithetic=self.antithetic, tile=self.tile)
        return replace(checked, strip=self.strip, keep=self.keep, allow_truncated=self.allow_truncated)

    def written_as(self) -> Format:
        """The format of the result."""
        return self.options().format or images.format_like(self.image)

    def packed(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The settings, and the bytes by name, to be sent."""
        facts = asdict(self)
        blobs = {name: blob for name in _BLOBS if (blob := facts.pop(name)) is not None}
        return facts, blobs

    @classmethod
    def unpacked(cls, facts: Mapping[str, Any], blobs: Mapping[str, bytes]) -> Work:
        """What was packed."""
        held: dict[str, Any] = {**facts, **blobs}
        return cls(**held)


@dataclass(frozen=True)
class Limits:
    """What a job may take: `max_pixels` of a picture, `max_work` millions of pixels times steps times samples."""

    max_pixels: int
    max_work: float


def admit(work: Work, entries: Sequence[ModelEntry], limits: Limits) -> int:
    """The pixels of a picture that may be restored so; its header is looked at, and no pixel of it.

    Raises
    ------
    UnknownModelError, ConfigError
        If the settings cannot be.
    ImageDecodeError, ImageUnsupportedError
        If a header cannot be read, or is of another kind.
    ImageTooLargeError, TooMuchWorkError
        If it is too large, or with its steps too much.
    """
    entry = entry_of(work.model, entries)
    options = work.options()
    steps = entry.steps if options.steps is None else options.steps
    check_range("steps", steps, 1, entry.max_steps)
    _check_mask(work, entry)
    if work.show_steps and (work.samples > 1 or steps > MOST_SHOWN):
        raise ConfigError(f"show_steps is for one sample of at most {MOST_SHOWN} steps; leave it out, or ask for fewer")
    size = _size("the image", work.image, limits)
    if work.mask is not None:
        _size("the mask", work.mask, limits)
    pixels = size[0] * size[1]
    taken = pixels * steps * options.samples / 1e6
    if taken > limits.max_work:
        asked = f"{pixels / 1e6:.3g} megapixels x {steps} steps x {options.samples} samples"
        raise TooMuchWorkError(f"{asked} are over the limit of {limits.max_work:g}; take fewer, or a smaller picture")
    return pixels


def entry_of(name: str, entries: Iterable[ModelEntry]) -> ModelEntry:
    """The entry of a name; `UnknownModelError` gives the nearest where there is none."""
    known = {entry.name: entry for entry in entries}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    raise UnknownModelError(f"no model {name[:64]!r}; " + (f"did you mean {near[0]!r}?" if near else _there_are(known)))


def _there_are(names: Iterable[str]) -> str:
    return f"there are {', '.join(names)}"


def _check_mask(work: Work, entry: ModelEntry) -> None:
    masked = work.mask is not None
    if entry.needs_mask and not masked:
        raise ConfigError(f"model {entry.name!r} needs a mask, white where to work; send one as `mask`")
    if work.keep and not masked:
        raise ConfigError("what is kept is where a mask is black; send one as `mask`, or leave `keep` out")
    if masked and not (entry.needs_mask or work.keep):
        raise ConfigError(f"model {entry.name!r} takes no mask; leave it out, or send `keep` to keep what it blackens")


def _size(what: str, data: bytes, limits: Limits) -> tuple[int, int]:
    height, width = images.size_of(images.ImageFile(what, data))
    if height * width > limits.max_pixels:
        raise ImageTooLargeError(f"{what}: {width} x {height} pixels are over the limit of {limits.max_pixels}")
    return height, width


@dataclass(frozen=True)
class Product:
    """A result.

    Attributes
    ----------
    data : the file
    format : of it
    name : to save it as: that of the work with the format's suffix
    seconds : of computing
    change, hint : as `residiff.restore.Result` has them
    warnings : what was left out or replaced
    more : further files: of several samples deviation.png and doubt.png, of `show_steps` pictures of each step,
        and levels.json, the time and the coefficients of x_t at each
    """

    data: bytes = field(repr=False)
    format: Format
    name: str
    seconds: float
    change: float
    hint: str = ""
    warnings: tuple[str, ...] = ()
    more: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def media_type(self) -> str:
        """As HTTP has it."""
        return _MEDIA[self.format]


def download_name(work: Work, format: Format) -> str:
    """What a result is saved as."""
    name = Path(work.name)
    return name.name if name.suffix and _is_named(name, format) else f"{name.stem or 'result'}{_SUFFIXES[format]}"


def _is_named(name: Path, format: Format) -> bool:
    return name.suffix.lower() in images.WRITABLE_SUFFIXES and images.format_of(name) is format
