"""The only door to image files: bytes become a `Picture` in [0, 1], and a `Picture` becomes bytes.

libvips reads PNG, JPEG, WebP, TIFF, GIF and AVIF, Pillow reads BMP. The kind is found from the first bytes, never from
the name, and each kind goes to its one loader, so that no other decoder (PDF, PostScript, SVG, ...) can be reached.

What `read` makes of each kind of pixel:

    1, 2, 4 and 8 bits, palettes     8 bits; grey stays grey where the file says grey (WebP, AVIF and GIF say colour)
    16 bits, 10 and 12 bit AVIF      16 bits
    float TIFF                       values in [0, 1], taken as sRGB, to 16 bits; other values are refused
    CMYK                             sRGB, by the embedded profile or else a common one for print; 8 or 16 bits
    Lab TIFF (float, 16 bits)        sRGB, 16 bits
    32-bit integers, signed, XYZ,    refused, with what to do
    more than one extra channel
    embedded colour profile          colours converted to sRGB; a damaged profile gives an `ImageWarning` and is ignored
    alpha                            kept apart, never mixed into the colours
    animations, many pages           the first one, with an `ImageWarning`
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from residiff.data.images.codecs import Format, labelled, libvips, opener, save, save_bmp, vips_image
from residiff.data.images.colour import PROFILE_FIELD
from residiff.data.images.contents import ImageFile, fetch
from residiff.data.images.decoding import contents, decoding, picture_of, summary, warn_of_more_frames
from residiff.data.images.exif import DEFAULT_RESOLUTION, EXIF_HEADER, MM_PER_INCH, dpi_of
from residiff.data.images.picture import (
    BitDepth,
    ImageWarning,
    Metadata,
    Picture,
    VipsImage,
    to_array,
)
from residiff.errors import ConfigError, ImageDecodeError, ImageTooLargeError, ImageUnsupportedError
from residiff.files import write_bytes

MAX_PIXELS = 150_000_000
# Of a file, in which most have their header
_HEAD = 1 << 18


def read(source: Path | bytes | ImageFile, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False) -> Picture:
    """Read an image file, or the bytes of one, as the module's table says.

    With `allow_truncated`, what can be decoded of a file that is damaged or cut short is a picture that is not `whole`,
    and there is an `ImageWarning`; a file of which nothing can be decoded is refused all the same.

    Raises
    ------
    ImageUnsupportedError
        If the contents are of another kind, whatever the name.
    ImageTooLargeError
        If the header claims more than `max_pixels` pixels; no pixel has been decoded then.
    ImageDecodeError
        If the file is missing, damaged, truncated or empty.
    """
    name, data = contents(source)
    try:
        return _decoded(name, data, max_pixels, tolerant=False)
    except ImageDecodeError:
        if not allow_truncated:
            raise
    cut = _decoded(name, data, max_pixels, tolerant=True)
    warnings.warn(f"{name}: damaged or cut short; the rest of it is restored", ImageWarning, stacklevel=2)
    return replace(cut, whole=False)


def size_of(source: Path | bytes | ImageFile) -> tuple[int, int]:
    """(height, width) that the header of an image file claims, as stored, not turned upright; no pixel is decoded.

    Raises
    ------
    ImageUnsupportedError, ImageDecodeError
        As `read` does, where the header says so.
    """
    if isinstance(source, Path):
        head = fetch(source, _HEAD)
        try:
            return _size_in(*contents(head))
        except ImageDecodeError:
            if len(head.data) < _HEAD:
                raise
    return _size_in(*contents(source))


def _size_in(name: str, data: bytes) -> tuple[int, int]:
    load = opener(name, data)
    with decoding(name):
        opened = load(data, True)
        return opened.height, opened.width


def _decoded(name: str, data: bytes, max_pixels: int, *, tolerant: bool) -> Picture:
    load = opener(name, data)
    with decoding(name):
        opened = load(data, tolerant)
        if opened.width * opened.height > max_pixels:
            size = f"{opened.width} x {opened.height} pixels"
            raise ImageTooLargeError(f"{name}: {size} are over the limit of {max_pixels}; raise it by --max-pixels")
        if isinstance(opened, Image.Image):
            return _from_pil(name, opened)
        warn_of_more_frames(name, opened, data)
        return picture_of(name, opened)


def encode(
    picture: Picture,
    format: Format,
    *,
    quality: int = 95,
    lossless: bool = False,
    bit_depth: BitDepth | None = None,
) -> bytes:
    """Encode `picture`, tagged sRGB (grey stays untagged, which means sRGB grey), with its EXIF, XMP and resolution.

    PNG and TIFF keep the picture's bit depth (or take `bit_depth`), the others hold 8 bits. PNG, TIFF and BMP lose
    nothing; `quality` (1 to 100) serves JPEG, WebP and AVIF, `lossless` WebP and AVIF. Alpha is exact in PNG, TIFF,
    WebP and lossless AVIF. EXIF (in TIFF, BMP) and XMP (in BMP) that find no place give an `ImageWarning`.

    Raises
    ------
    ConfigError
        If the quality or the bit depth is not possible.
    ImageUnsupportedError
        If the format holds no alpha, or not this size, or a value is not finite.
    """
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality is {quality}; allowed are 1 to 100")
    if picture.alpha is not None and format in (Format.JPEG, Format.BMP):
        raise ImageUnsupportedError(f"{format.value} holds no alpha; use png, webp or tiff")
    array = to_array(picture, _depth_in_file(picture, format, bit_depth))
    _warn_of_lost_metadata(picture.metadata, format)
    if format is Format.BMP:
        return save_bmp(array, dpi_of(picture.metadata))
    depth: BitDepth = 8 if array.dtype == np.uint8 else 16
    image = tagged(libvips().Image.new_from_array(array), array.shape[2] <= 2, depth, picture.metadata)
    try:
        return save(image, format, quality, lossless, kept_fields(picture.metadata, format))
    except libvips().Error as error:
        cause = f"cannot encode {array.shape[1]} x {array.shape[0]} pixels as {format.value} ({summary(error)})"
        raise ImageUnsupportedError(f"{cause}; use png or tiff") from error


def write(
    path: Path,
    picture: Picture,
    *,
    format: Format | None = None,
    quality: int = 95,
    lossless: bool = False,
    bit_depth: BitDepth | None = None,
) -> None:
    """Encode `picture` (as `encode` does) and write it atomically; the suffix names the format where `format` does not.

    Raises
    ------
    ConfigError, ImageUnsupportedError
        As `encode` does; nothing is written then.
    ResourceError
        If the disk is full or the place may not be written to.
    """
    chosen = format_of(path) if format is None else format
    write_bytes(path, encode(picture, chosen, quality=quality, lossless=lossless, bit_depth=bit_depth))


def format_of(path: Path) -> Format:
    """The format that the suffix of `path` names. Raises `ImageUnsupportedError` if it names none."""
    chosen = _FORMATS.get(path.suffix.lower())
    if chosen is None:
        raise ImageUnsupportedError(f"{path}: cannot write {path.suffix!r} files; use one of {', '.join(_FORMATS)}")
    return chosen


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """Files in `folder` that are named like images, sorted; hidden names are left out, links to folders not followed.

    Dangling links, pipes and unreadable files are listed, so that `read` can report each; a subfolder that cannot be
    opened gives an `ImageWarning`. Raises `ConfigError` if `folder` is not a folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=_warn_of_folder):
        found += [Path(root, name) for name in names if _is_image_name(name)]
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
    return sorted(found)


def images_by_name(folder: Path) -> dict[str, Path]:
    """The pictures of `folder` by their names without suffix; `ConfigError` if two have one name."""
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise ConfigError(f"{found[path.stem]} and {path.name} have the same name; keep one of them")
        found[path.stem] = path
    return found


def from_pil(image: Image.Image) -> Picture:
    """Picture of a Pillow image: turned upright, its colour profile applied, its EXIF, XMP and resolution kept.

    Raises
    ------
    ImageUnsupportedError
        If the mode has no documented meaning here.
    ImageDecodeError
        If its pixels cannot be loaded.
    """
    name = f"Pillow image of mode {image.mode}"
    with decoding(name):
        return _from_pil(name, image)


def to_pil(picture: Picture) -> Image.Image:
    """Pillow image of `picture`: L, LA, RGB or RGBA; 16-bit grey is I;16. Pillow cuts other 16-bit pictures to 8."""
    keeps_16 = picture.bit_depth == 16 and len(picture.planes) == 1
    array = to_array(picture, 16 if keeps_16 else 8)
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    metadata = picture.metadata
    exif = None if metadata.exif is None else EXIF_HEADER + metadata.exif
    dpi = None if metadata.resolution is None else dpi_of(metadata)
    kept = {"exif": exif, "xmp": metadata.xmp, "dpi": dpi}
    image.info.update({key: value for key, value in kept.items() if value is not None})
    return image


def _from_pil(name: str, image: Image.Image) -> Picture:
    upright = ImageOps.exif_transpose(image)
    mode = _PIL_MODES.get(upright.mode)
    if mode is None:
        raise ImageUnsupportedError(f"{name}: mode {upright.mode} is not read; convert it to RGB or RGBA first")
    if upright.mode == "P" and "transparency" in upright.info:
        mode = "RGBA"
    array = np.asarray(upright if upright.mode == mode else upright.convert(mode))
    native = array.astype(array.dtype.newbyteorder("="))
    info = upright.info
    x, y = info.get("dpi", (MM_PER_INCH, MM_PER_INCH))
    blobs = {"exif-data": info.get("exif"), "xmp-data": info.get("xmp"), PROFILE_FIELD: info.get("icc_profile")}
    resolution = (float(x) / MM_PER_INCH, float(y) / MM_PER_INCH)
    return picture_of(name, vips_image(native, _INTERPRETATIONS[mode], resolution, blobs))


def tagged(image: VipsImage, is_grey: bool, depth: BitDepth, metadata: Metadata) -> VipsImage:
    """An image of libvips that says what its colours are, and carries `metadata`."""
    grey, colour = ("b-w", "srgb") if depth == 8 else ("grey16", "rgb16")
    profile = None if is_grey else libvips().Image.profile_load("srgb")
    blobs = {"exif-data": metadata.exif, "xmp-data": metadata.xmp, PROFILE_FIELD: profile}
    return labelled(image, grey if is_grey else colour, metadata.resolution or DEFAULT_RESOLUTION, blobs)


def kept_fields(metadata: Metadata, format: Format) -> str:
    """Fields to write: libvips makes up EXIF where there is none, wanted only where it must carry the resolution."""
    makes_exif = metadata.exif is not None or (metadata.resolution is not None and format is not Format.PNG)
    return "exif,xmp,icc" if makes_exif else "xmp,icc"


def _depth_in_file(picture: Picture, format: Format, bit_depth: BitDepth | None) -> BitDepth:
    holds_16 = format in (Format.PNG, Format.TIFF)
    if bit_depth not in (None, 8, 16):
        raise ConfigError(f"bit_depth is {bit_depth}; allowed are 8 and 16")
    if bit_depth == 16 and not holds_16:
        raise ConfigError(f"bit_depth is 16, but {format.value} holds 8 bits; use png or tiff")
    return bit_depth or (picture.bit_depth if holds_16 else 8)


def _warn_of_lost_metadata(metadata: Metadata, format: Format) -> None:
    lost = metadata.exif if format is Format.TIFF else metadata.exif or metadata.xmp
    if lost and format in (Format.TIFF, Format.BMP):
        warnings.warn(f"{format.value} keeps no EXIF; png, jpeg, webp and avif do", ImageWarning, stacklevel=3)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in READABLE_SUFFIXES


def _warn_of_folder(error: OSError) -> None:
    warnings.warn(f"{error.filename}: cannot be opened ({error.strerror}); left out", ImageWarning, stacklevel=4)


_FORMATS = {
    ".png": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".webp": Format.WEBP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".avif": Format.AVIF,
    ".bmp": Format.BMP,
}

WRITABLE_SUFFIXES = frozenset(_FORMATS)
WRITABLE = ", ".join(sorted(WRITABLE_SUFFIXES))
READABLE_SUFFIXES = WRITABLE_SUFFIXES | {".gif"}

# what Pillow is asked to convert each of its modes to; a palette with transparency becomes RGBA
_PIL_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "CMYK": "CMYK",
    "I;16": "I;16",
    "I;16L": "I;16L",
    "I;16B": "I;16B",
    "F": "F",
}

_INTERPRETATIONS = {
    "L": "b-w",
    "LA": "b-w",
    "RGB": "srgb",
    "RGBA": "srgb",
    "CMYK": "cmyk",
    "I;16": "grey16",
    "I;16L": "grey16",
    "I;16B": "grey16",
    "F": "b-w",
}
