"""The trajectory strip: which pictures and words it holds, and its table."""

import base64
import csv
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from residiff.errors import ConfigError
from residiff.plots import Numbers, Run, plot_trajectory
from residiff.plots.moments import record

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path):
    """Words, and pictures (H, W, 3) uint8, of an SVG file."""
    root = ElementTree.parse(path).getroot()
    data = [image.get("href").removeprefix("data:image/png;base64,") for image in root.findall(f"{SVG}image")]
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in data]
    return [text.text for text in root.findall(f"{SVG}text")], pictures


def test_the_strip_shows_what_happens(tmp_path, run, truth):
    files = plot_trajectory(run(), tmp_path / "t.svg", truth)
    assert files == [tmp_path / "t.svg", tmp_path / "t.csv"]
    words, pictures = drawn(files[0])
    assert len(pictures) == 5 + 3 * 4  # the last state has no estimates
    x, x0, residual, noise = pictures[:5], pictures[5:9], pictures[9:13], pictures[13:]
    wanted = (truth * 255).round().permute(1, 2, 0).numpy().repeat(2, 0).repeat(2, 1)
    for seen in (*x0, x[-1]):
        assert np.abs(seen - wanted).max() <= 1
    errors = [np.abs(seen - wanted).mean() for seen in x]
    assert errors == sorted(errors, reverse=True)
    assert np.ptp(residual[0][:, 0]) == 0 and abs(int(residual[0][0, 0, 0]) - 128) <= 1  # R = 0 at the left
    assert residual[0][0, -1, 0] <= 1  # R is most negative at the right
    assert noise[0].mean() == pytest.approx(127.5, abs=3)
    assert {"t = 99", "clean", "a 1.00, r 1.00, n 0.50", "x₀ estimate"} <= set(words)
    assert sum(word.endswith("dB") for word in words) == 4
    assert sum(word.startswith("change") for word in words) == 4
    numbers = record(run()).numbers[:-1]
    wanted = [f"rms {row.residual_rms:.3f}" for row in numbers] + [f"rms {row.noise_rms:.3f}" for row in numbers]
    assert [word for word in words if word.startswith("rms")] == wanted


def test_the_table_holds_every_number(tmp_path, run, truth):
    numbers = record(run("residual-first"), truth).numbers
    path = plot_trajectory(run("residual-first"), tmp_path / "t.png", truth)[1]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and tuple(rows[0]) == Numbers._fields
    for row, wanted in zip(rows, numbers, strict=True):
        assert [None if value == "" else float(value) for value in row.values()] == list(wanted)


def test_residual_and_noise_have_times_of_their_own(tmp_path, run):
    words, _ = drawn(plot_trajectory(run("residual-first"), tmp_path / "t.svg")[0])
    assert {"t = 99", "R t = 74, ε t = 99", "R clean, ε t = 24", "clean"} <= set(words)
    assert not any(word.endswith("dB") for word in words)


def test_long_runs_have_eight_columns(tmp_path, run):
    words, pictures = drawn(plot_trajectory(run(steps=60), tmp_path / "t.svg")[0])
    assert len(pictures) == 8 + 3 * 7
    assert "t = 99" in words and "clean" in words


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_run_gives_the_same_bytes(tmp_path, run, suffix):
    first, second = (plot_trajectory(run(), tmp_path / f"{k}.{suffix}")[0].read_bytes() for k in range(2))
    assert first == second


def test_png_and_svg_are_of_one_size(tmp_path, run):
    png, svg = (plot_trajectory(run(), tmp_path / f"t.{suffix}")[0] for suffix in ("png", "svg"))
    root = ElementTree.parse(svg).getroot()
    with Image.open(png) as image:
        assert image.size == (int(root.get("width")), int(root.get("height")))


def test_a_wrong_suffix_is_refused_before_anything_is_computed(tmp_path):
    def never():
        raise AssertionError("a state was asked for")
        yield

    with pytest.raises(ConfigError, match=r"'\.pdf'; a plot is a \.png or a \.svg file"):
        plot_trajectory(Run(never(), (4, 4)), tmp_path / "t.pdf")
