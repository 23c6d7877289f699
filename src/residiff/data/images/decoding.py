"""From the bytes of a file to pixels in sRGB or grey: all of them, upright, or prepared for a few rows at a time."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from residiff.data.images.colour import to_integers, to_srgb
from residiff.data.images.contents import ImageFile, fetch
from residiff.data.images.exif import is_camera_raw, metadata_of
from residiff.data.images.picture import Array, BitDepth, ImageWarning, Metadata, Picture, VipsImage, planes_of
from residiff.errors import ImageDecodeError, ImageError, ImageUnsupportedError


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageDecodeError` that names the picture."""
    try:
        yield
    except (ImageError, ImageWarning, MemoryError):
        raise
    # Decoders raise OSError, SyntaxError, ValueError, RuntimeError, struct.error, ...
    except Exception as error:
        cause = summary(error)
        raise ImageDecodeError(f"{name}: damaged or cut short ({cause}); get it again") from error


def summary(error: Exception) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or type(error).__name__


def contents(source: Path | bytes | ImageFile) -> tuple[str, bytes]:
    """What to call a picture, and its bytes.

    Raises
    ------
    ImageDecodeError
        If the file is missing, empty, being written to or cannot be opened.
    ImageUnsupportedError
        If it is a camera's raw file.
    """
    found = ImageFile("image data", source) if isinstance(source, bytes) else source
    found = fetch(found) if isinstance(found, Path) else found
    name, data = found.name, found.data
    if not data:
        raise ImageDecodeError(f"{name}: the file is empty; get it again")
    if is_camera_raw(data):
        raise ImageUnsupportedError(f"{name}: a camera's raw file; develop it to TIFF or JPEG first")
    return name, data


def warn_of_more_frames(name: str, image: VipsImage, data: bytes) -> None:
    """Warn of all but the first picture of a file that begins with `data`."""
    is_animated_png = image.get("vips-loader").startswith("png") and b"acTL" in data[: data.find(b"IDAT")]
    if is_animated_png or _integer(image, "n-pages") > 1:
        warnings.warn(f"{name}: holds several images; only the first is read", ImageWarning, stacklevel=3)


def _integer(image: VipsImage, field: str) -> int:
    return int(image.get(field)) if image.get_typeof(field) else 1


@dataclass(frozen=True)
class Prepared:
    """An opened image whose pixels have not been decoded: sRGB or grey of 8 or 16 bits, alpha in the last band.

    `colours` of its bands are colours, `turn` is the EXIF orientation that its pixels still have, 1 being upright.
    """

    image: VipsImage
    colours: int
    depth: BitDepth
    turn: int
    metadata: Metadata


def prepared(name: str, opened: VipsImage) -> Prepared:
    """What is to be decoded: colours to sRGB, alpha untouched."""
    metadata = metadata_of(name, opened)
    image = to_integers(name, opened)
    colours = image.bands - 1 if image.hasalpha() else image.bands
    srgb = to_srgb(name, image.extract_band(0, n=colours))
    depth: BitDepth = 8 if image.format == "uchar" else 16
    joined = srgb
    if colours < image.bands:
        # Converted colours widen it
        joined = srgb.bandjoin(image.extract_band(colours))
    return Prepared(joined, srgb.bands, depth, _integer(opened, "orientation"), metadata)


def picture_of(name: str, opened: VipsImage) -> Picture:
    """Decode an opened image in one pass, upright."""
    ready = prepared(name, opened)
    image = ready.image
    stored = image.numpy().reshape(image.height, image.width, image.bands)
    array = _TURNS.get(ready.turn, np.asarray)(stored)
    alpha = array[..., ready.colours :].astype(np.uint8 if ready.depth == 8 else np.uint16)
    pixels = planes_of(array[..., : ready.colours])
    return Picture(pixels, planes_of(alpha) if alpha.shape[2] else None, ready.depth, ready.metadata)


# views that turn an array (H, W, C) upright, by EXIF orientation; 1 is upright
_TURNS: dict[int, Callable[[Array], Array]] = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: array[::-1].swapaxes(0, 1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: lambda array: array[:, ::-1].swapaxes(0, 1),
}
