"""One look at the pictures of one key: what each is, how they fit together, and what is left of them in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from residiff.data.check.alignment import Alignment, align
from residiff.data.check.findings import Fault, Finding, finding
from residiff.data.check.names import Entry
from residiff.data.images import ImageWarning, Picture
from residiff.data.parts import FilePart, Part
from residiff.errors import ImageError

THUMB = 16
# A mask's values this near to 0 and 1 are taken for these
_BINARY = 0.02
_HEAD = 32


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a picture that was read.

    `size` is (height, width); `digest` that of its pixels; `thumb` its luminance in THUMB x THUMB bytes, None where it
    is all of one colour or not a clean picture; `remarks` are the reader's warnings.
    """

    name: str
    size: tuple[int, int]
    channels: int
    bit_depth: int
    has_alpha: bool
    is_flat: bool
    digest: bytes
    thumb: bytes | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """Of degraded minus clean, in [-1, 1]: the mean, and the energy, which is the mean of the squares."""

    mean: float
    energy: float


@dataclass(frozen=True, slots=True)
class MaskLook:
    """The share of a mask that is white, by weight, and of pixels that are neither black nor white."""

    covered: float
    soft: float


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of the pictures of one key: what could be read, by kind, and what is wrong with the files.

    `residual` is there where clean and degraded are of one size, `alignment` where both show something as well.
    """

    split: str
    key: str
    looks: Mapping[str, Look]
    findings: tuple[Finding, ...]
    residual: Residual | None = None
    alignment: Alignment | None = None
    mask: MaskLook | None = None

    @property
    def name(self) -> str:
        """Of the clean picture, or of another where there is none."""
        return next(iter(self.names()), self.key)

    def names(self) -> tuple[str, ...]:
        """Of the pictures that could be read."""
        return tuple(look.name for look in self.looks.values())


def examine_entry(entry: Entry, *, paired: bool) -> Examined:
    """Read the pictures of `entry` and look at them; whether the kinds fit only where they are `paired`."""
    found = [one for part in entry.parts.values() for one in check_head(part)]
    broken = {name for one in found if one.severity.value == "error" for name in one.files}
    looks: dict[str, Look] = {}
    pixels: dict[str, Tensor] = {}
    for kind, part in entry.parts.items():
        if part.name in broken:
            continue
        try:
            looks[kind], pixels[kind] = _look(kind, part)
        except ImageError as error:
            found.append(_unreadable(part, error))
    mask = _mask_look(pixels["mask"]) if "mask" in pixels else None
    residual, alignment = _compared(pixels) if paired else (None, None)
    return Examined(entry.split, entry.key, looks, tuple(found), residual, alignment, mask)


def check_head(part: Part) -> list[Finding]:
    """What the first bytes of a file tell: nothing there, or another kind than its suffix says."""
    if not isinstance(part, FilePart) or not part.path.is_file():
        return []
    try:
        with part.path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        text = f"it cannot be opened ({error.strerror})"
        return [finding(Fault.UNREADABLE, (part.name,), text, mend="check its permissions")]
    if not head:
        return [finding(Fault.EMPTY, (part.name,), "the file holds nothing")]
    kind = next((kind for kind, (_, place, magic) in _KINDS.items() if head[place:].startswith(magic)), None)
    if kind is None:
        text = "it is no picture of a kind that is read"
        return [finding(Fault.UNREADABLE, (part.name,), text, mend="convert it to PNG")]
    right = part.path.suffix.lower() in _KINDS[kind][0]
    return [] if right else [_misnamed(part.path, kind)]


def _misnamed(path: Path, kind: str) -> Finding:
    text = f"it is called {path.suffix} and holds {kind}"
    return finding(Fault.SUFFIX, (str(path),), text)


def _unreadable(part: Part, error: ImageError) -> Finding:
    cause, _, mend = str(error).rpartition("; ")
    return finding(Fault.UNREADABLE, (part.name,), cause.removeprefix(f"{part.name}: "), mend=mend)


def _look(kind: str, part: Part) -> tuple[Look, Tensor]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImageWarning)
        picture = part.read()
    remarks = tuple(str(one.message).removeprefix(f"{part.name}: ") for one in caught)
    pixels = picture.pixels
    is_flat = bool((pixels == pixels[:, :1, :1]).all())
    thumb = None if is_flat or kind != "clean" else _thumb(pixels)
    size, alpha = (pixels.shape[1], pixels.shape[2]), picture.alpha is not None
    digest = _digest(picture)
    return Look(part.name, size, len(pixels), picture.bit_depth, alpha, is_flat, digest, thumb, remarks), pixels


def _digest(picture: Picture) -> bytes:
    """Of the shape and the pixels, so that files of other formats and metadata with the same picture agree."""
    whole = hashlib.blake2b(repr(tuple(picture.pixels.shape)).encode(), digest_size=16)
    whole.update(picture.pixels.contiguous().numpy().data)
    return whole.digest()


def _thumb(pixels: Tensor) -> bytes:
    small = functional.interpolate(pixels.mean(0)[None, None], size=(THUMB, THUMB), mode="bilinear", antialias=True)
    return (small.flatten() * 255).round().byte().numpy().tobytes()


def _mask_look(pixels: Tensor) -> MaskLook:
    soft = (pixels > _BINARY) & (pixels < 1 - _BINARY)
    return MaskLook(float(pixels.mean()), float(soft.float().mean()))


def _compared(pixels: Mapping[str, Tensor]) -> tuple[Residual | None, Alignment | None]:
    clean, degraded = pixels.get("clean"), pixels.get("degraded")
    if clean is None or degraded is None or clean.shape[1:] != degraded.shape[1:]:
        return None, None
    difference = degraded.double() - clean.double()
    residual = Residual(float(difference.mean()), float(difference.square().mean()))
    return residual, align(clean, degraded)


# The kinds of file: their suffixes, and the bytes that they have at a place near the start
_KINDS: dict[str, tuple[tuple[str, ...], int, tuple[bytes, ...]]] = {
    "PNG": ((".png",), 0, (b"\x89PNG\r\n\x1a\n",)),
    "JPEG": ((".jpg", ".jpeg"), 0, (b"\xff\xd8\xff",)),
    "WebP": ((".webp",), 8, (b"WEBP",)),
    "TIFF": ((".tif", ".tiff"), 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "GIF": ((".gif",), 0, (b"GIF87a", b"GIF89a")),
    "AVIF": ((".avif",), 4, (b"ftyp",)),
    "BMP": ((".bmp",), 0, (b"BM",)),
}
