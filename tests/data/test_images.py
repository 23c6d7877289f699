"""What `residiff.data.images` makes of good files: pixels, depth, alpha, orientation, metadata and folders."""

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from residiff.data import images
from residiff.data.images import Format, ImageWarning, Metadata, Picture
from residiff.errors import ConfigError, ImageDecodeError, ImageUnsupportedError

LOSSLESS = [Format.PNG, Format.TIFF, Format.WEBP, Format.AVIF, Format.BMP]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def pil_bytes(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_integer_survives_float32(dtype, channels):
    every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1, 1)
    array = np.concatenate([np.roll(every, 7 * c, axis=1) for c in range(channels)], axis=2)
    picture = images.from_array(array)
    assert picture.pixels.shape[0] == (3 if channels > 2 else 1)
    assert (picture.alpha is not None) == (channels in (2, 4))
    assert picture.pixels.dtype == torch.float32 and picture.pixels.max() == 1
    np.testing.assert_array_equal(images.to_array(picture), array)


def test_values_are_clamped_and_rounded_half_up():
    pixels = torch.tensor([[[-3.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 7.0]]])
    assert images.to_array(Picture(pixels)).ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ImageUnsupportedError, match="not finite"):
        images.encode(Picture(torch.full((3, 2, 2), bad)), Format.PNG)


def test_float_arrays_are_kept_and_have_16_bits():
    array = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    picture = images.from_array(array)
    assert picture.bit_depth == 16
    np.testing.assert_array_equal(picture.pixels.numpy(), array.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros((2, 2), np.int32),
        np.zeros((2, 2), bool),
        np.full((2, 2), 255.0),
        np.full((2, 2), np.nan),
    ],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ConfigError):
        images.from_array(array)


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(2, 4, 4),),
        (torch.zeros(4, 4),),
        (torch.zeros(3, 4, 4), torch.zeros(1, 4, 5)),
        (torch.zeros(3, 4, 4, dtype=torch.float64),),
        (torch.zeros(3, 4, 4), None, 12),
    ],
)
def test_a_picture_is_what_it_says(arguments):
    with pytest.raises(ConfigError):
        Picture(*arguments)


# ---------------------------------------------------------------- files, lossless


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_formats_give_the_pixels_back(tmp_path, format, channels, dtype):
    if format is Format.BMP and channels in (2, 4):
        pytest.skip("BMP holds no alpha")
    array = noise((13, 17, channels), dtype)
    path = tmp_path / f"a.{format.value}"
    images.write(path, images.from_array(array), lossless=True)
    back = images.read(path)
    keeps_16 = format in (Format.PNG, Format.TIFF)
    assert back.bit_depth == (16 if keeps_16 and dtype == np.uint16 else 8)
    stored = array if keeps_16 or dtype == np.uint8 else np.floor(array / 257 + 0.5).astype(np.uint8)
    got = images.to_array(back)
    if channels < 3 and got.shape[2] > 2:  # WebP says colour for grey
        got = got[..., [0, -1][:channels]]
    np.testing.assert_array_equal(got, stored)


def test_sizes_are_kept():
    for height, width in [(1, 1), (1, 7), (7, 1), (2, 3), (31, 37), (1, 20000)]:
        array = noise((height, width, 3))
        for format in (Format.PNG, Format.TIFF, Format.BMP):
            back = images.to_array(images.read(images.encode(images.from_array(array), format)))
            np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("format", [Format.JPEG, Format.WEBP, Format.AVIF])
def test_quality_acts_on_lossy_formats(format):
    rows, columns = np.mgrid[:64, :64]
    picture = images.from_array(np.stack([rows * 4, columns * 4, (rows + columns) * 2], -1).astype(np.uint8))
    good, poor = (images.encode(picture, format, quality=quality) for quality in (95, 20))
    assert len(poor) < len(good)
    assert torch.mean((images.read(good).pixels - picture.pixels).abs()) < 0.01


@pytest.mark.parametrize("format", [Format.PNG, Format.TIFF, Format.WEBP])
def test_alpha_is_exact_and_never_bleeds(format):
    """Fully transparent pixels keep their colour; the alpha plane is bit-exact even in lossy WebP."""
    for seed in range(8):
        array = noise((24, 20, 4), seed=seed)
        array[4:12, 4:12, 3] = 0
        back = images.read(images.encode(images.from_array(array), format, quality=80))
        np.testing.assert_array_equal(images.to_array(back)[..., 3], array[..., 3])
        if format is not Format.WEBP:
            np.testing.assert_array_equal(images.to_array(back), array)


def test_bit_depth_can_be_chosen(tmp_path):
    array = noise((6, 5, 3), np.uint16)
    images.write(tmp_path / "a.png", images.from_array(array), bit_depth=8)
    assert images.read(tmp_path / "a.png").bit_depth == 8
    eight = images.from_array(noise((6, 5, 3)))
    wide = images.read(images.encode(eight, Format.TIFF, bit_depth=16))
    assert wide.bit_depth == 16 and torch.equal(wide.pixels, eight.pixels)


@pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 101}, {"bit_depth": 12}, {"bit_depth": 16}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        images.encode(images.from_array(noise((4, 4, 3))), Format.JPEG, **options)


@pytest.mark.parametrize("format", [Format.JPEG, Format.BMP])
def test_alpha_is_not_dropped_in_silence(format):
    with pytest.raises(ImageUnsupportedError, match="use png, webp or tiff"):
        images.encode(images.from_array(noise((4, 4, 4))), format)


def test_the_suffix_names_the_format(tmp_path):
    assert images.format_of(Path("A.JPG")) is Format.JPEG
    with pytest.raises(ImageUnsupportedError, match=".gif"):
        images.write(tmp_path / "a.gif", images.from_array(noise((4, 4))))
    images.write(tmp_path / "a.gif", images.from_array(noise((4, 4))), format=Format.PNG)
    assert (tmp_path / "a.gif").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- orientation


@pytest.mark.parametrize(("format", "orientation"), list(product(["JPEG", "WEBP", "PNG", "TIFF"], range(1, 9))))
def test_orientation_is_applied_and_reset(format, orientation):
    image = Image.fromarray(np.kron(noise((2, 3, 3)), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    data = pil_bytes(image, format, exif=exif, **options)
    picture = images.read(data)
    truth = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.abs(images.to_array(picture).astype(int) - truth).max() <= (1 if format == "JPEG" else 0)
    if format != "TIFF":
        again = Image.open(io.BytesIO(images.encode(picture, Format.PNG))).getexif()
        assert (again.get(0x0112), again.get(0x010F)) == (1, "Maker")
        assert images.to_pil(picture).getexif().get(0x0112) == 1


# ---------------------------------------------------------------- metadata, frames


def exif_sample():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x013B] = "Maker", "Model 5", "An Artist"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (50.0, 20.0, 10.0)
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    return exif


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("target", [Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF])
def test_exif_and_resolution_are_kept(source, target):
    data = pil_bytes(Image.fromarray(noise((16, 16, 3))), source, exif=exif_sample(), dpi=(300, 300))
    picture = images.read(data)
    assert picture.metadata.resolution == pytest.approx((300 / 25.4,) * 2, rel=1e-3)
    written = images.encode(picture, target)
    kept = Image.open(io.BytesIO(written)).getexif()
    assert [kept.get(tag) for tag in (0x010F, 0x0110, 0x013B)] == ["Maker", "Model 5", "An Artist"]
    assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05" and kept.get_ifd(0x8769)[0x829A] == 0.01
    assert kept.get_ifd(0x8825)[2] == (50.0, 20.0, 10.0)
    assert images.read(written).metadata.resolution == pytest.approx((300 / 25.4,) * 2, rel=1e-3)


@pytest.mark.parametrize("format", [Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.TIFF])
def test_xmp_and_resolution_are_kept(format):
    metadata = Metadata(xmp=XMP, resolution=(10.0, 20.0))
    back = images.read(images.encode(Picture(torch.zeros(3, 8, 8), metadata=metadata), format)).metadata
    assert back.xmp == XMP
    assert back.resolution == pytest.approx((10.0, 20.0), rel=1e-3)


@pytest.mark.parametrize("format", list(Format))
def test_nothing_is_made_up_for_a_stripped_picture(format):
    written = images.encode(Picture(torch.zeros(3, 8, 8)), format)
    assert images.read(written).metadata == Metadata()
    assert b"Exif" not in written and b"eXIf" not in written


@pytest.mark.parametrize("format", [Format.TIFF, Format.BMP])
def test_metadata_that_finds_no_place_is_dropped_aloud(format):
    metadata = Metadata(exif=exif_sample().tobytes().removeprefix(b"Exif\0\0"))
    with pytest.warns(ImageWarning, match="keeps no EXIF"):
        images.encode(Picture(torch.zeros(3, 8, 8), metadata=metadata), format)


def test_damaged_exif_does_not_cost_the_picture():
    array = noise((8, 8, 3))
    data = pil_bytes(Image.fromarray(array), "PNG", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    with pytest.warns(ImageWarning, match="EXIF"):
        picture = images.read(data)
    np.testing.assert_array_equal(images.to_array(picture), array)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_of_many_images_is_read_with_a_warning(format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("#c81e3c", "#0000ff", "#00ff00")]
    options = {"WEBP": {"lossless": True}}.get(format, {})
    data = pil_bytes(frames[0], format, save_all=True, append_images=frames[1:], **options)
    with pytest.warns(ImageWarning, match="only the first"):
        picture = images.read(data)
    assert picture.pixels.shape == (3, 6, 8)
    assert images.to_array(picture)[0, 0, :3].tolist() == [0xC8, 0x1E, 0x3C]


# ---------------------------------------------------------------- Pillow images


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pillow_images_make_the_round_trip(mode):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
    array = np.squeeze(noise((7, 9, channels), np.uint16 if mode == "I;16" else np.uint8))
    image = Image.fromarray(array)
    assert image.mode == mode
    back = images.to_pil(images.from_pil(image))
    assert back.mode == mode
    np.testing.assert_array_equal(np.asarray(back), array)


def test_a_pillow_image_keeps_what_it_carries():
    image = Image.fromarray(noise((7, 9, 3)))
    exif = exif_sample()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(pil_bytes(image, "PNG", exif=exif, dpi=(300, 300))))
    back = images.to_pil(images.from_pil(opened))
    assert back.size == (7, 9)
    image.getexif()[0x0112] = 6
    assert images.from_pil(image).pixels.shape == (3, 9, 7)
    assert back.getexif().get(0x010F) == "Maker" and back.getexif().get(0x0112, 1) == 1
    assert back.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_other_pillow_modes_are_read_or_refused():
    rgb = Image.fromarray(noise((7, 9, 3)))
    for mode in ("1", "P", "PA", "CMYK", "YCbCr", "HSV"):
        source = rgb.convert("RGBA").convert("P").convert("PA") if mode == "PA" else rgb.convert(mode)
        assert images.from_pil(source).pixels.shape[1:] == (7, 9)
    with pytest.raises(ImageUnsupportedError, match="convert it"):
        images.from_pil(Image.new("I", (4, 4)))


# ---------------------------------------------------------------- folders


def test_folders_are_listed_in_order(tmp_path):
    for name in ("b.png", "a.JPG", "note.txt", ".hidden.png", "sub/c.webp", ".git/d.png", "x\ud800.png"):
        path = tmp_path / name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    flat = images.list_images(tmp_path)
    assert [path.name for path in flat[:3]] == ["a.JPG", "b.png", "dangling.png"] and len(flat) == 4
    assert sorted([*flat, tmp_path / "sub/c.webp"]) == images.list_images(tmp_path, recursive=True)
    with pytest.raises(ConfigError, match="not a folder"):
        images.list_images(tmp_path / "b.png")
    with pytest.raises(ImageDecodeError, match="no such file"):
        images.read(tmp_path / "dangling.png")
