"""What travels with the pixels: EXIF (a TIFF structure, parsed only as far as needed), XMP, and the resolution."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from fractions import Fraction

from residiff.data.images.picture import ImageWarning, Metadata, VipsImage

EXIF_HEADER = b"Exif\0\0"
MM_PER_INCH = 25.4
DEFAULT_RESOLUTION = (72 / MM_PER_INCH, 72 / MM_PER_INCH)

_MM_PER_CM = 10.0
_TIFF_MAGIC = (b"II*\0", b"MM\0*")
_ORIENTATION = 0x0112
_SUBFILE_TYPE = 0x00FE
# Colour filter array; DNG version
_RAW_TAGS = (0x828D, 0xC612)


def metadata_of(name: str, image: VipsImage) -> Metadata:
    """Metadata of an image that libvips opened, made upright; damaged EXIF is left out with an `ImageWarning`."""
    exif, xmp, resolution = _blob(image, "exif-data"), _blob(image, "xmp-data"), _resolution(image)
    try:
        return Metadata(None if exif is None else _upright(exif), xmp, resolution)
    except struct.error:
        warnings.warn(f"{name}: its EXIF is damaged and left out", ImageWarning, stacklevel=2)
        return Metadata(None, xmp, resolution)


def dpi_of(metadata: Metadata) -> tuple[float, float]:
    """(x, y) pixels per inch; 72 where none is known."""
    x, y = metadata.resolution or DEFAULT_RESOLUTION
    return x * MM_PER_INCH, y * MM_PER_INCH


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF reader would find only a preview in `data`: the first image of most raw files is a thumbnail."""
    if data[:4] not in _TIFF_MAGIC:
        return False
    with contextlib.suppress(struct.error):
        for tag, offset, order in _first_directory(data):
            is_preview = tag == _SUBFILE_TYPE and struct.unpack_from(f"{order}I", data, offset + 8)[0] & 1
            if is_preview or tag in _RAW_TAGS:
                return True
    return data[8:10] == b"CR"


def _first_directory(data: bytes) -> Iterator[tuple[int, int, str]]:
    """(tag, offset of its 12 bytes, byte order) of each entry."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for offset in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(f"{order}H", data, offset)
        yield tag, offset, order


def _upright(exif: bytes) -> bytes:
    """The same EXIF, its header removed and its orientation set to 1 (upright), every other byte unchanged."""
    body = bytearray(exif.removeprefix(EXIF_HEADER))
    if body[:4] not in _TIFF_MAGIC:
        raise struct.error("no TIFF header")
    for tag, offset, order in _first_directory(bytes(body)):
        if tag == _ORIENTATION:
            struct.pack_into(f"{order}HIHH", body, offset + 2, 3, 1, 1, 0)
    return bytes(body)


def _blob(image: VipsImage, field: str) -> bytes | None:
    return bytes(image.get(field)) if image.get_typeof(field) else None


def _resolution(image: VipsImage) -> tuple[float, float] | None:
    """(x, y) pixels per millimetre; None where the file states none, or nonsense, or the 72 dpi that say nothing."""
    stated: tuple[float, float] = (image.xres, image.yres)
    # WebP and AVIF have EXIF alone to say it, which libvips does not look up
    if stated == (1.0, 1.0):
        stated = _exif_resolution(image) or DEFAULT_RESOLUTION
    is_silent = all(abs(value / 72 * MM_PER_INCH - 1) < 1e-3 for value in stated)
    return stated if not is_silent and all(0 < value < 1e6 for value in stated) else None


def _exif_resolution(image: VipsImage) -> tuple[float, float] | None:
    fields = [f"exif-ifd0-{field}" for field in ("XResolution", "YResolution", "ResolutionUnit")]
    if not all(image.get_typeof(field) for field in fields):
        return None
    # As "300/1 (300, Rational, ...)"
    x, y, unit = (image.get(field).split()[0] for field in fields)
    length = _MM_PER_CM if unit == "3" else MM_PER_INCH
    try:
        return float(Fraction(x)) / length, float(Fraction(y)) / length
    except (ValueError, ZeroDivisionError):
        return None
