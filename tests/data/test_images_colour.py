"""What each kind of pixel becomes: bits, palettes, CMYK, Lab, floats, and embedded colour profiles."""

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from residiff.data import images
from residiff.data.images import Format, ImageWarning
from residiff.errors import ImageUnsupportedError


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def pil_bytes(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tagged(array, profile, interpretation="srgb"):
    image = pyvips.Image.new_from_array(array, interpretation=interpretation).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def icc_profile(space, tags):
    """An ICC version 2 display profile, written from the specification."""
    body, table = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for signature, data in tags.items():
        table += signature + struct.pack(">2I", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    illuminant = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + illuminant + bytes(48) + struct.pack(">I", len(tags)) + table + body


def xyz(x, y, z):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def gamma(value):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


D50 = (0.9642, 1.0, 0.8249)
TEXT = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def adobe_rgb():
    columns = {name: xyz(*ADOBE[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = {name: gamma(563 / 256) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return icc_profile(b"RGB ", {b"desc": TEXT, b"cprt": TEXT, b"wtpt": xyz(*D50), **columns, **curves})


def grey_gamma(value):
    return icc_profile(b"GRAY", {b"desc": TEXT, b"cprt": TEXT, b"wtpt": xyz(*D50), b"kTRC": gamma(value)})


def srgb_encode(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# ---------------------------------------------------------------- kinds of pixel


def modes():
    rgba = noise((12, 14, 4), seed=3)
    rgb = Image.fromarray(rgba[..., :3])
    grey = Image.fromarray(rgba[..., 0])
    palette = rgb.quantize(16)
    yield "1", Image.fromarray(rgba[..., 0]).convert("1"), "L", ["PNG", "TIFF", "BMP"], {}
    yield "L", grey, "L", ["PNG", "TIFF", "BMP"], {}
    yield "LA", Image.fromarray(rgba[..., :2]), "LA", ["PNG", "TIFF"], {}
    yield "P", palette, "RGB", ["PNG", "TIFF", "GIF", "BMP"], {}
    yield "P+tRNS", palette, "RGBA", ["PNG"], {"transparency": bytes(range(0, 160, 10))}
    yield "L+tRNS", grey, "LA", ["PNG"], {"transparency": int(rgba[0, 0, 0])}
    yield "RGB", rgb, "RGB", ["PNG", "TIFF", "BMP", "WEBP"], {}
    yield "RGBA", Image.fromarray(rgba), "RGBA", ["PNG", "TIFF", "WEBP"], {}
    yield "2 bit", grey.quantize(4), "RGB", ["PNG"], {"bits": 2}
    yield "16 bit", Image.fromarray(noise((12, 14), np.uint16)), "I;16", ["PNG", "TIFF"], {}


@pytest.mark.parametrize(
    ("image", "expected", "format", "options"),
    [pytest.param(i, e, f, o, id=f"{n} {f}") for n, i, e, fs, o in modes() for f in fs],
)
def test_modes_are_read_as_pillow_reads_them(image, expected, format, options):
    options = {**options, **({"lossless": True, "exact": True} if format == "WEBP" else {})}
    data = pil_bytes(image, format, **options)
    truth = np.asarray(Image.open(io.BytesIO(data)).convert(expected))
    picture = images.read(data)
    assert picture.bit_depth == (16 if expected == "I;16" else 8)
    np.testing.assert_array_equal(np.squeeze(images.to_array(picture)), truth)


def test_jpeg_is_decoded_as_pillow_decodes_it():
    rows, columns = np.mgrid[:40, :48]
    smooth = np.stack([rows * 5, columns * 5, rows + columns], -1).astype(np.uint8)
    data = pil_bytes(Image.fromarray(smooth), "JPEG", quality=90)
    got = images.to_array(images.read(data)).astype(int)
    assert np.abs(got - np.asarray(Image.open(io.BytesIO(data)))).max() <= 2


def test_cmyk_becomes_srgb():
    cmyk = Image.new("CMYK", (8, 8))
    cmyk.paste((0, 0, 0, 255), (0, 0, 4, 8))
    for format in ("JPEG", "TIFF"):
        pixels = images.read(pil_bytes(cmyk, format)).pixels
        assert pixels.shape == (3, 8, 8)
        assert pixels[:, :, 6].min() > 0.97 and pixels[:, :, 1].max() < 0.25, "no ink is white, black ink is dark"


def test_float_tiff_is_16_bits():
    values = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    for data in (
        pil_bytes(Image.fromarray(values), "TIFF"),
        pyvips.Image.new_from_array(values[..., None].repeat(3, 2)).copy(interpretation="rgb").tiffsave_buffer(),
    ):
        picture = images.read(data)
        assert picture.bit_depth == 16
        assert np.abs(picture.pixels.numpy() - values).max() <= 0.51 / 65535


def test_lab_tiff_becomes_srgb():
    array = noise((8, 8, 3))
    srgb = pyvips.Image.new_from_array(array, interpretation="srgb")
    picture = images.read(srgb.colourspace("lab").tiffsave_buffer())
    assert picture.bit_depth == 16
    assert np.abs(picture.pixels.numpy() - array.transpose(2, 0, 1) / 255).max() < 1.5 / 255


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_reaches_white(bits):
    array = noise((8, 8, 3), np.uint16)
    array[0] = 65535
    source = pyvips.Image.new_from_array(array, interpretation="rgb16")
    picture = images.read(source.heifsave_buffer(compression="av1", lossless=True, bitdepth=bits))
    assert picture.bit_depth == 16 and picture.pixels[:, 0].min() == 1
    assert np.abs(picture.pixels.numpy() - array.transpose(2, 0, 1) / 65535).max() <= 1 / 2**bits


@pytest.mark.parametrize(
    ("array", "interpretation"),
    [
        (np.full((4, 4), 70000, np.int32), "b-w"),
        (np.full((4, 4, 3), -5, np.int16), "srgb"),
        (np.full((4, 4), 2.0, np.float32), "b-w"),
        (np.full((4, 4), np.nan, np.float32), "b-w"),
        (np.zeros((4, 4, 6), np.uint8), "srgb"),
        (np.zeros((4, 4, 3), np.float32), "xyz"),
    ],
)
def test_pixels_without_a_meaning_here_are_refused(array, interpretation):
    data = pyvips.Image.new_from_array(array, interpretation=interpretation).tiffsave_buffer()
    with pytest.raises(ImageUnsupportedError, match="save it"):
        images.read(data)


# ---------------------------------------------------------------- colour profiles


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_adobe_rgb_becomes_srgb(dtype):
    top = np.iinfo(dtype).max
    array = noise((16, 16, 4), dtype)
    linear = (array[..., :3] / top) ** (563 / 256)
    inside = linear @ np.linalg.solve(SRGB, ADOBE).T
    name = "srgb" if dtype == np.uint8 else "rgb16"
    picture = images.read(tagged(array, adobe_rgb(), name).pngsave_buffer())
    assert picture.bit_depth == (8 if dtype == np.uint8 else 16)
    difference = np.abs(picture.pixels.numpy().transpose(1, 2, 0) - srgb_encode(inside))
    in_gamut = ((inside > 0.001) & (inside < 0.999)).all(-1)
    assert in_gamut.sum() > 100 and difference[in_gamut].max() < 2 / 255
    assert difference[in_gamut].mean() < 0.2 / 255
    np.testing.assert_array_equal(images.to_array(picture)[..., 3], array[..., 3])


def test_p3_becomes_srgb():
    p3 = pyvips.Image.profile_load("p3")
    array = np.full((4, 4, 3), (200, 120, 90), np.uint8)
    got = images.to_array(images.read(tagged(array, p3).jpegsave_buffer(Q=100)))[0, 0].astype(int)
    assert np.abs(got - (212, 117, 84)).max() <= 2


def test_grey_profiles_are_applied_and_stay_grey():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    picture = images.read(tagged(ramp, grey_gamma(1.8), "b-w").pngsave_buffer())
    assert picture.pixels.shape[0] == 1
    truth = srgb_encode((ramp[..., 0] / 255) ** (round(1.8 * 256) / 256))
    assert np.abs(picture.pixels[0].numpy() - truth).max() < 1.5 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_that_say_srgb_pass_unchanged(dtype):
    array = noise((9, 9, 3), dtype)
    name = "srgb" if dtype == np.uint8 else "rgb16"
    for profile in (
        pyvips.Image.profile_load("srgb"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ):
        picture = images.read(tagged(array, profile, name).pngsave_buffer())
        np.testing.assert_array_equal(images.to_array(picture), array)


@pytest.mark.parametrize("profile", [b"garbage" * 40, b"", adobe_rgb()[:300], grey_gamma(1.8)])
def test_a_profile_that_does_not_fit_is_ignored_aloud(profile):
    array = noise((9, 9, 3))
    image = Image.fromarray(array)
    image.info["icc_profile"] = profile or b"\0"
    with pytest.warns(ImageWarning, match="colour profile"):
        picture = images.from_pil(image)
    np.testing.assert_array_equal(images.to_array(picture), array)


def test_garbage_profile_in_a_file_warns():
    data = pil_bytes(Image.fromarray(noise((9, 9, 3))), "JPEG", icc_profile=b"garbage" * 40)
    with pytest.warns(ImageWarning, match="colour profile"):
        images.read(data)


@pytest.mark.parametrize("format", [Format.PNG, Format.JPEG, Format.WEBP, Format.TIFF, Format.AVIF])
def test_colour_output_is_tagged_srgb(format):
    data = images.encode(images.from_array(noise((9, 9, 3))), format)
    profile = Image.open(io.BytesIO(data)).info.get("icc_profile")
    assert profile == pyvips.Image.profile_load("srgb")
