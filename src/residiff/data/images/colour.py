"""From the pixels that libvips decoded to sRGB or grey: embedded profiles, CMYK, Lab and floats.

An embedded profile whose colours are those of sRGB to within one grey level of 255 leaves the pixels untouched, so that
pictures that say "sRGB" in full pass unchanged.
"""

from __future__ import annotations

import io
import itertools
import warnings
from functools import lru_cache

import numpy as np
from PIL import ImageCms

from residiff.data.images.codecs import vips_image
from residiff.data.images.picture import ImageWarning, VipsImage, in_unit_range
from residiff.errors import ImageUnsupportedError

PROFILE_FIELD = "icc-profile-data"
_SAME_COLOUR = 257
_PROBES = {1: 256, 3: 9}


def to_integers(name: str, image: VipsImage) -> VipsImage:
    """The same image with 8 or 16 bits a value: Lab becomes sRGB, floats become 16 bits.

    Floats are taken as sRGB in [0, 1]. Raises `ImageUnsupportedError` on other types, on floats outside that range and
    on Lab with more channels.
    """
    if image.interpretation in ("lab", "labs") and image.bands == 3:
        return image.colourspace("rgb16")
    if image.format in ("uchar", "ushort"):
        return _full_range(image)
    if image.format not in ("float", "double") or image.interpretation in ("lab", "xyz"):
        kind = f"{image.format} values of {image.interpretation}"
        raise ImageUnsupportedError(f"{name}: {kind} are not read; save it as grey or RGB with 8 or 16 bits")
    loaded = image.copy_memory()
    if not in_unit_range(loaded.numpy()):
        raise ImageUnsupportedError(f"{name}: holds float values outside [0, 1]; scale them, and save it with 16 bits")
    scaled = (loaded * 65535 + 0.5).floor().cast("ushort")
    return scaled.copy(interpretation="grey16" if image.bands <= 2 else "rgb16")


def _full_range(image: VipsImage) -> VipsImage:
    """Values of 10 or 12 bits stretched to 16: libvips shifts those of AVIF, so that white is not 65535."""
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 16
    if image.format == "uchar" or bits == 16 or not image.get("vips-loader").startswith("heif"):
        return image
    return (image * (65535 / (65536 - 2 ** (16 - bits))) + 0.5).floor().cast("ushort")


def to_srgb(name: str, colour: VipsImage) -> VipsImage:
    """Colours in sRGB (3 bands) or grey (1 band) of bands of 8 or 16 bits; what is converted gets 16 bits.

    Raises `ImageUnsupportedError` if the bands are neither grey nor RGB nor CMYK.
    """
    mode = _PIXEL_KINDS.get((colour.interpretation, colour.bands))
    if mode is None:
        kind = f"{colour.bands} channels of {colour.interpretation}"
        raise ImageUnsupportedError(f"{name}: {kind} are not read; save it as grey or RGB, at most one alpha")
    embedded = _has_usable_profile(name, colour, mode)
    if mode != "CMYK" and not (embedded and not _is_nearly_srgb(bytes(colour.get(PROFILE_FIELD)), colour.bands)):
        return colour
    converted = _transformed(colour, embedded)
    return converted.extract_band(1) if mode == "L" else converted


def _has_usable_profile(name: str, colour: VipsImage, mode: str) -> bool:
    if not colour.get_typeof(PROFILE_FIELD):
        return False
    damage = _damage(bytes(colour.get(PROFILE_FIELD)), mode)
    if damage:
        warnings.warn(f"{name}: its colour profile is damaged and ignored ({damage})", ImageWarning, stacklevel=2)
    return not damage


@lru_cache(maxsize=64)
def _damage(profile: bytes, mode: str) -> str:
    """Why a profile cannot be used, "" where it can; thousands of pictures have the same one."""
    # libvips replaces a bad profile by sRGB in silence; this is the strict check
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        return str(error) or type(error).__name__
    return ""


@lru_cache(maxsize=64)
def _is_nearly_srgb(profile: bytes, bands: int) -> bool:
    levels = np.linspace(0, 255, _PROBES[bands]).round().astype(np.uint8)
    lattice = np.array(list(itertools.product(levels, repeat=bands)), np.uint8)[None]
    probe = vips_image(lattice, "b-w" if bands == 1 else "srgb", (1.0, 1.0), {PROFILE_FIELD: profile})
    difference = _transformed(probe, True).numpy().astype(np.int32) - lattice.astype(np.int32) * 257
    return bool(np.abs(difference).max() <= _SAME_COLOUR)


def _transformed(colour: VipsImage, embedded: bool) -> VipsImage:
    """Colours in sRGB with 16 bits, relative colorimetric.

    The direct way is exact to a grey level of 255 for 8 bits. For 16 it interpolates a table, and errs by up to 13
    levels in dark, saturated colours, so these go by way of XYZ (error below 2, five times slower).
    """
    intent = {"intent": "relative", "black_point_compensation": True}
    source = {"embedded": True} if embedded else {"input_profile": "cmyk"}
    if colour.format == "uchar":
        return colour.icc_transform("srgb", depth=16, **source, **intent)
    middle = colour.icc_import(pcs="xyz", **source, **intent)
    return middle.icc_export(output_profile="srgb", pcs="xyz", depth=16, **intent)


# Pillow's name of the pixels, by libvips's interpretation and number of bands
_PIXEL_KINDS = {
    ("b-w", 1): "L",
    ("grey16", 1): "L",
    ("multiband", 1): "L",
    ("srgb", 3): "RGB",
    ("rgb", 3): "RGB",
    ("rgb16", 3): "RGB",
    ("multiband", 3): "RGB",
    ("cmyk", 4): "CMYK",
}
