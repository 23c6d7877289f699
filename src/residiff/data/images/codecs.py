"""One decoder and one encoder for each kind of image file, and the first bytes that tell the kinds apart.

Only the loaders named here are ever called, and each by its own name: libvips is never left to guess.
"""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

from PIL import BmpImagePlugin, Image

from residiff.data.images.picture import Array, VipsImage
from residiff.errors import ImageUnsupportedError

Library: TypeAlias = Any
Opened: TypeAlias = VipsImage | Image.Image


class Format(Enum):
    """A kind of file that can be written."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"
    BMP = "bmp"


@functools.cache
def libvips() -> Library:
    """The pyvips module, loaded on first use, with nothing cached and the decoders unfit for foreign files blocked."""
    import pyvips

    # Else each oddity of a file goes to stderr
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    pyvips.block_untrusted_set(True)
    # It decodes nothing, and reads what residiff itself has written
    pyvips.operation_block_set("VipsForeignLoadRaw", False)
    # No result is asked for twice, and cached ones hold whole files in memory
    pyvips.cache_set_max(0)
    return pyvips


def opener(name: str, data: bytes) -> Callable[[bytes, bool], Opened]:
    """The function that opens `data` (reads its header), chosen by its first bytes. Raises `ImageUnsupportedError`.

    It takes whether what is cut short is decoded as far as it goes; of BMP it never is.
    """
    for is_kind, open_header in _OPENERS:
        if is_kind(data):
            return open_header
    raise ImageUnsupportedError(f"{name}: not a PNG, JPEG, WebP, TIFF, GIF, AVIF or BMP image; convert it to one")


def source_opener(data: bytes) -> Callable[[int], VipsImage] | None:
    """The function that opens a file by its descriptor, to be read from start to end, by its first bytes `data`.

    None where the kind is not known, or cannot be read bit by bit.
    """
    loader = next((name for is_kind, name in _LOADERS if is_kind(data)), None)
    if loader is None:
        return None

    def open_header(descriptor: int) -> VipsImage:
        source = libvips().Source.new_from_descriptor(descriptor)
        return getattr(libvips().Image, f"{loader}_source")(source, access="sequential", fail_on="error")

    return open_header


def format_like(data: bytes) -> Format:
    """The format to write what is made of a file that begins with `data`; PNG where nothing writes its own."""
    loader = next((name for is_kind, name in _LOADERS if is_kind(data)), "")
    return Format.BMP if data.startswith(b"BM") else _LIKE.get(loader, Format.PNG)


def raw_image(path: str, width: int, height: int, bands: int, is_16_bit: bool) -> VipsImage:
    """Image of a file of nothing but pixels (height, width, bands), of 8 bits or of 16 in this machine's order."""
    kind = "ushort" if is_16_bit else "uchar"
    return libvips().Image.rawload(path, width, height, bands, format=kind, access="sequential")


def vips_image(array: Array, interpretation: str, resolution: tuple[float, float], blobs: dict[str, Any]) -> VipsImage:
    """Image of libvips of an array (H, W) or (H, W, C) that carries `blobs` (bytes by field; None is left out)."""
    return labelled(libvips().Image.new_from_array(array), interpretation, resolution, blobs)


def labelled(
    image: VipsImage, interpretation: str, resolution: tuple[float, float], blobs: dict[str, Any]
) -> VipsImage:
    """The image as one of that `interpretation`, `resolution` in pixels per millimetre, with `blobs` by field."""
    x, y = resolution
    image = image.copy(interpretation=interpretation, xres=x, yres=y)
    for field, blob in blobs.items():
        if blob is not None:
            image.set_type(libvips().GValue.blob_type, field, blob)
    return image


def save(image: VipsImage, format: Format, quality: int, lossless: bool, keep: str) -> bytes:
    """`image` as a file of any format but BMP, with the fields that `keep` lists in libvips's words ("xmp,icc").

    `quality` is 1 to 100. Raises pyvips's error if the format cannot hold the image.
    """
    saver, taken, fixed = _SAVERS[format]
    offered = {"Q": quality, "lossless": lossless}
    return bytes(getattr(image, saver)(keep=keep, **fixed, **{option: offered[option] for option in taken}))


def save_to(image: VipsImage, descriptor: int, format: Format, quality: int, keep: str) -> None:
    """As `save`, into an open file, bit by bit."""
    saver, taken, fixed = _SAVERS[format]
    offered = {"Q": quality, "lossless": False}
    target = libvips().Target.new_to_descriptor(descriptor)
    options = {option: offered[option] for option in taken}
    getattr(image, saver.replace("_buffer", "_target"))(target, keep=keep, **fixed, **options)


def save_bmp(array: Array, dpi: tuple[float, float]) -> bytes:
    """An array (H, W, 1) or (H, W, 3) of uint8 as a BMP file."""
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, "BMP", dpi=dpi)
    return buffer.getvalue()


def _open_bmp(data: bytes, tolerant: bool) -> Image.Image:
    return BmpImagePlugin.BmpImageFile(io.BytesIO(data))


def _vips_opener(loader: str) -> Callable[[bytes, bool], VipsImage]:
    def open_header(data: bytes, tolerant: bool) -> VipsImage:
        fail_on = "none" if tolerant else "error"
        return getattr(libvips().Image, loader)(data, access="sequential", fail_on=fail_on)

    return open_header


def _starts_with(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magic)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_avif(data: bytes) -> bool:
    """Whether the brands of an ISO media file name AVIF; HEIC (H.265) is another kind."""
    brands = data[8:12] + data[16 : int.from_bytes(data[:4], "big")]
    return data[4:8] == b"ftyp" and any(brands[at : at + 4] in (b"avif", b"avis") for at in range(0, len(brands), 4))


_LOADERS: list[tuple[Callable[[bytes], bool], str]] = [
    (_starts_with(b"\x89PNG\r\n\x1a\n"), "pngload"),
    (_starts_with(b"\xff\xd8\xff"), "jpegload"),
    (_is_webp, "webpload"),
    (_starts_with(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiffload"),
    (_starts_with(b"GIF87a", b"GIF89a"), "gifload"),
    (_is_avif, "heifload"),
]
_LIKE = {
    "jpegload": Format.JPEG,
    "webpload": Format.WEBP,
    "tiffload": Format.TIFF,
    "heifload": Format.AVIF,
}
_OPENERS: list[tuple[Callable[[bytes], bool], Callable[[bytes, bool], Opened]]] = [
    *((is_kind, _vips_opener(f"{loader}_buffer")) for is_kind, loader in _LOADERS),
    (_starts_with(b"BM"), _open_bmp),
]

# libvips's saver, the options it takes of the caller's, what it is always given
_SAVERS: dict[Format, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    Format.PNG: ("pngsave_buffer", (), {}),
    Format.JPEG: ("jpegsave_buffer", ("Q",), {}),
    Format.WEBP: ("webpsave_buffer", ("Q", "lossless"), {"exact": True}),
    Format.TIFF: ("tiffsave_buffer", (), {"compression": "deflate", "predictor": "horizontal"}),
    Format.AVIF: ("heifsave_buffer", ("Q", "lossless"), {"compression": "av1"}),
}
