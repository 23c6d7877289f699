"""Grids: every pixel as it is, in PNG and in SVG, with words that fit."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.data import images
from residiff.errors import ConfigError
from residiff.plots.grid import arranged, grid

SVG = "{http://www.w3.org/2000/svg}"


def picture(seed: int, *size: int) -> torch.Tensor:
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(seed)) / 255


def holds(sheet: np.ndarray, tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Places where the sheet holds the picture, every pixel exact."""
    wanted = (tensor.expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(sheet, wanted.shape)[:, :, 0]
    rows, columns = np.nonzero((windows[..., 0, 0, :] == wanted[0, 0]).all(-1))
    return [(r, c) for r, c in zip(rows, columns, strict=True) if np.array_equal(windows[r, c], wanted)]


def test_grid_keeps_every_pixel(tmp_path):
    rows = [[picture(1, 3, 40, 61), picture(2, 3, 40, 61)], [picture(3, 1, 25, 30), picture(4, 3, 33, 50)]]
    grid(rows, ["noisy", "restored"], [["20.00 dB", "31.00 dB"], ["", "inf dB"]], tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        sheet = np.asarray(image)
    places = [[holds(sheet, tensor) for tensor in row] for row in rows]
    assert all(len(found) == 1 for row in places for found in row)
    (a, b), (c, d) = [[found[0] for found in row] for row in places]
    assert a[0] == b[0] < c[0] == d[0]
    assert a[1] + 61 < b[1]
    assert c[1] + 15 == pytest.approx(a[1] + 30, abs=1)  # centred in its column
    assert sheet[a[0] + 40 : c[0], a[1] : a[1] + 61].min() < 120  # the caption


def test_grid_makes_room_for_long_titles(tmp_path):
    for words in ("short", "a title much wider than the picture"):
        grid([[picture(1, 3, 40, 61)]], [words], [[""]], tmp_path / f"{len(words)}.png")
    widths = [images.read(path).pixels.shape[2] for path in sorted(tmp_path.iterdir(), key=lambda path: int(path.stem))]
    assert widths[0] < 100 < widths[1]


@pytest.mark.parametrize(
    ("rows", "titles", "captions"),
    [([], [], []), ([[0]], ["a", "b"], [["x"]]), ([[0, 0]], ["a", "b"], [["x"]]), ([[0]], ["a"], []), ([[]], [], [[]])],
)
def test_grids_that_do_not_fit(tmp_path, rows, titles, captions):
    pictures = [[picture(1, 3, 8, 8) for _ in row] for row in rows]
    with pytest.raises(ConfigError, match="each row needs one entry"):
        grid(pictures, titles, captions, tmp_path / "grid.png")


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'\.jpg'; a grid is a \.png or a \.svg file"):
        grid([[torch.zeros(3, 4, 4)]], ["a"], [["b"]], tmp_path / "s.jpg")
    assert not list(tmp_path.iterdir())


def test_svg_holds_the_same_pictures_at_the_same_places(tmp_path):
    rows = [[picture(1, 3, 40, 61), None], [picture(3, 1, 25, 30), picture(4, 3, 33, 50)]]
    arguments = (rows, ["a < b\nsmall", "c"], [["x & y", ""], ["", "z"]])
    grid(*arguments, tmp_path / "g.svg", ["one", "two\nthree"])
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    found = root.findall(f"{SVG}image")
    sheet = arranged(*arguments, ["one", "two\nthree"])
    places = [(placed.x, placed.y, *placed.picture.size) for placed in sheet.pictures]
    assert [tuple(int(image.get(key)) for key in ("x", "y", "width", "height")) for image in found] == places
    for image, tensor in zip(found, [rows[0][0], *rows[1]], strict=True):
        data = base64.b64decode(image.get("href").removeprefix("data:image/png;base64,"))
        assert holds(np.asarray(Image.open(io.BytesIO(data))), tensor) == [(0, 0)]
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert sorted(words) == sorted(["a < b", "small", "c", "x & y", "z", "one", "two", "three"])


def test_labels_make_room_to_the_left():
    rows, titles, captions = [[picture(1, 3, 40, 61)]] * 2, ["a"], [["b"]] * 2
    bare = arranged(rows, titles, captions)
    labelled = arranged(rows, titles, captions, ["a long label", "short"])
    assert labelled.pictures[0].x > bare.pictures[0].x + 60
    assert labelled.height == bare.height
    right = {words.x for words in labelled.words if words.anchor == "end"}
    assert len(right) == 1 and right.pop() < labelled.pictures[0].x


def test_labels_end_before_the_pictures(tmp_path):
    tensor = picture(1, 3, 40, 61)
    grid([[tensor]], ["a"], [["b"]], tmp_path / "g.png", ["a long label"])
    with Image.open(tmp_path / "g.png") as image:
        sheet = np.asarray(image)
    ((row, column),) = holds(sheet, tensor)
    assert sheet[row : row + 40, : column - 2].min() < 120


def test_labels_that_do_not_fit(tmp_path):
    with pytest.raises(ConfigError, match="1 labels do not fit 2 rows"):
        grid([[picture(1, 3, 8, 8)]] * 2, ["a"], [["b"]] * 2, tmp_path / "g.png", ["x"])
