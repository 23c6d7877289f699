"""The figures that the published MATLAB functions gave in GNU Octave, each by its recipe of resizing and rounding.

Octave rounds a resized 8-bit image once. Its own resizing of these errs in the fifth digit of a grey level, so that a
handful of values in a million fall on the other side of a half.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.metrics import Rounding, imresize, lab_d50, lab_error, luma, psnr, ssim

FOLDER = Path(__file__).parents[1] / "golden" / "eval"
SIDE = 256
DECIBELS, SIMILARITY, LAB = 1e-4, 1e-6, 0.02


def table(name):
    with (FOLDER / name).open(newline="") as file:
        return [(row.pop("name"), {key: float(text) for key, text in row.items()}) for row in csv.DictReader(file)]


def read(name):
    pixels = np.array(Image.open(FOLDER / name))
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).contiguous()


def at_256(image):
    return imresize(image, SIDE, SIDE, Rounding.ONCE)


def shadow(name):
    """Any value that is not zero, those below zero that the bicubic kernel makes beside an edge too: so no rounding."""
    return imresize(read(f"{name}_mask.png").double(), SIDE, SIDE) != 0


ROWS = table("octave.csv")
LAB_ROWS = table("lab_mae.csv")


@pytest.mark.parametrize("name", [name for name, _ in ROWS])
def test_bicubic_images(name):
    difference = (at_256(read(f"{name}_pred.png")).int() - read(f"{name}_pred_bicubic256.png").int()).abs()
    assert difference.max() <= 1 and (difference == 0).double().mean() >= 0.9999


@pytest.mark.parametrize("name", [name for name, _ in ROWS])
def test_matlab_s_two_roundings_are_another_image(name):
    difference = (imresize(read(f"{name}_pred.png"), SIDE, SIDE).int() - read(f"{name}_pred_bicubic256.png")).abs()
    assert 0.15 < (difference > 0).double().mean() < 0.25 and (difference > 1).double().mean() < 1e-3


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_luma_columns_take_bytes_resized_as_bytes(name, row):
    first, second = read(f"{name}_gt.png"), read(f"{name}_pred.png")
    for suffix, pair in (("", (first, second)), ("_256", (at_256(first), at_256(second)))):
        a, b = (luma(image).double() / 255 for image in pair)
        assert psnr(a, b) == pytest.approx(row[f"y_psnr{suffix}"], abs=DECIBELS)
        assert ssim(a, b) == pytest.approx(row[f"y_ssim{suffix}"], abs=SIMILARITY)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_rgb_and_region_columns_take_floats_resized_unclipped(name, row):
    first, second = (read(f"{name}_{kind}.png").double() / 255 for kind in ("gt", "pred"))
    assert psnr(first, second) == pytest.approx(row["rgb_psnr"], abs=1e-8)
    first, second = (imresize(image, SIDE, SIDE) for image in (first, second))
    assert psnr(first, second) == pytest.approx(row["rgb_psnr_256"], abs=1e-8)
    assert psnr(first.clamp(0, 1), second.clamp(0, 1)) != pytest.approx(row["rgb_psnr_256"], abs=1e-6)
    for column, region in (("shadow", shadow(name)), ("nonshadow", ~shadow(name))):
        assert psnr(first * region, second * region) == pytest.approx(row[f"{column}_psnr_256"], abs=1e-8)


@pytest.mark.parametrize(("name", "row"), LAB_ROWS)
def test_lab_columns_take_bytes_resized_as_bytes(name, row):
    first, second = (lab_d50(at_256(read(f"{name}_{kind}.png"))) for kind in ("gt", "pred"))
    for column, region in (("all", None), ("shadow", shadow(name)), ("nonshadow", ~shadow(name))):
        assert lab_error(first, second, region).mae == pytest.approx(row[f"lab_mae_{column}"], abs=LAB)
