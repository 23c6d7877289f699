"""Pictures by rows: what is read is what `read` reads, what is written is what `write` writes, in flat memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.data import images
from residiff.data.images import Format, Metadata, Picture, open_rows, read, write_rows
from residiff.errors import ConfigError, ImageDecodeError, ImageTooLargeError

LIMIT = 10**9


def draw(shape, dtype=np.uint8, seed=0):
    source = np.random.default_rng(seed)
    return source.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def by_rows(path, step=7):
    with open_rows(path, max_pixels=LIMIT) as reader:
        parts = [reader.rows(top, min(top + step, reader.height)) for top in range(0, reader.height, step)]
        return torch.cat(parts, dim=1), reader.depth


FILES = {
    "a.png": (61, 37, 3), "grey.png": (40, 23), "a.jpg": (61, 37, 3), "a.webp": (61, 37, 3), "a.tif": (61, 37, 3),
    "a.gif": (30, 20),
}  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), FILES.items())
def test_rows_are_those_of_the_whole(tmp_path, name, shape):
    Image.fromarray(draw(shape)).save(tmp_path / name)
    pixels, depth = by_rows(tmp_path / name)
    whole = read(tmp_path / name)
    assert torch.equal(pixels, whole.pixels) and depth == whole.bit_depth


def test_sixteen_bits(tmp_path):
    images.write(tmp_path / "a.png", images.from_array(draw((33, 21, 3), np.uint16)))
    pixels, depth = by_rows(tmp_path / "a.png")
    assert depth == 16 and torch.equal(pixels, read(tmp_path / "a.png").pixels)


def test_colours_are_converted(tmp_path):
    Image.fromarray(draw((20, 30, 4)), "CMYK").save(tmp_path / "a.jpg")
    assert torch.equal(by_rows(tmp_path / "a.jpg")[0], read(tmp_path / "a.jpg").pixels)


@pytest.mark.parametrize("kind", ["alpha", "turned", "bmp"])
def test_what_cannot_be_read_so(tmp_path, kind):
    path = tmp_path / ("a.bmp" if kind == "bmp" else "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    pixels = draw((20, 30, 4 if kind == "alpha" else 3))
    Image.fromarray(pixels).save(path, exif=exif)
    with open_rows(path, max_pixels=LIMIT) as reader:
        assert reader is None


def test_rows_follow_one_another(tmp_path):
    Image.fromarray(draw((20, 30, 3))).save(tmp_path / "a.png")
    with open_rows(tmp_path / "a.png", max_pixels=LIMIT) as reader:
        reader.rows(0, 5)
        for wrong in ((0, 5), (6, 7), (5, 5), (5, 21)):
            with pytest.raises(ConfigError, match="top to bottom"):
                reader.rows(*wrong)


def test_damage_and_size(tmp_path):
    Image.fromarray(draw((200, 300, 3))).save(tmp_path / "a.png")
    with pytest.raises(ImageTooLargeError, match="300 x 200"), open_rows(tmp_path / "a.png", max_pixels=59_999):
        pass
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageDecodeError, match=r"a\.png"):
        by_rows(tmp_path / "a.png")


def written(path, format, pixels, depth=8, **more):
    with write_rows(path, format, tuple(pixels.shape), depth, **more) as writer:
        for top in range(0, pixels.shape[1], 9):
            writer.add(pixels[:, top : top + 9])
        writer.finish()


@pytest.mark.parametrize("format", [Format.PNG, Format.JPEG, Format.WEBP, Format.TIFF])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_those_of_the_whole(tmp_path, format, channels):
    pixels = torch.from_numpy(draw((channels, 40, 31))).float() / 255
    written(tmp_path / "rows", format, pixels)
    images.write(tmp_path / "whole", Picture(pixels), format=format)
    assert torch.equal(read(tmp_path / "rows").pixels, read(tmp_path / "whole").pixels)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["rows", "whole"]


def test_depth_and_metadata_are_kept(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    metadata = Metadata(exif.tobytes()[6:], b"<x:xmpmeta/>", (4.0, 4.0))
    pixels = torch.from_numpy(draw((3, 20, 31), np.uint16).astype(np.int32)).float() / 65535
    written(tmp_path / "a.png", Format.PNG, pixels, 16, metadata=metadata)
    found = read(tmp_path / "a.png")
    assert torch.equal(found.pixels, pixels) and found.bit_depth == 16
    assert found.metadata.xmp == metadata.xmp and b"maker" in found.metadata.exif
    assert found.metadata.resolution == pytest.approx((4.0, 4.0), rel=1e-3)


def test_nothing_is_left_of_what_was_not_finished(tmp_path):
    with (
        pytest.raises(ConfigError, match="9 rows of 40"),
        write_rows(tmp_path / "a.png", Format.PNG, (3, 40, 8), 8) as out,
    ):
        out.add(torch.zeros(3, 9, 8))
        out.finish()
    assert list(tmp_path.iterdir()) == []
