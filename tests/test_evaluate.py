"""Scoring of files and folders: the report, its JSON, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from residiff.data import images
from residiff.data.images import Picture, from_array
from residiff.errors import ConfigError, ImageDecodeError
from residiff.evaluate import Report, Score, evaluate
from residiff.metrics import psnr, ssim


def picture(seed: int, size: tuple[int, int, int] = (3, 24, 31)) -> Tensor:
    """An 8-bit image of smooth noise."""
    source = torch.Generator().manual_seed(seed)
    return (torch.rand(size, generator=source) * 255).round() / 255


def save(path: Path, pixels: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, Picture(pixels))
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three pictures, their truths, and b equal to its truth."""
    for name, seed in {"c": 3, "a": 1, "b": 2}.items():
        save(tmp_path / "truth" / f"{name}.png", picture(seed))
        save(tmp_path / "predicted" / f"{name}.tif", picture(seed if name == "b" else seed + 10))
    return tmp_path / "predicted", tmp_path / "truth"


def test_folders_are_paired_by_name(folders):
    report = evaluate(*folders)
    assert [score.name for score in report.images] == ["a", "b", "c"]
    assert report.images[0].psnr == pytest.approx(psnr(picture(11), picture(1)), abs=1e-9)
    assert report.images[2].ssim == pytest.approx(ssim(picture(13), picture(3)), abs=1e-9)
    assert report.images[1].psnr == math.inf


def test_json_is_exact_and_valid(folders):
    found = json.loads(json.dumps(evaluate(*folders).as_json(), allow_nan=False))
    assert list(found) == ["protocol", "mean", "images"]
    assert found["protocol"] == "rgb-8bit-full"
    assert found["mean"]["psnr"] is None
    assert found["mean"]["ssim"] == pytest.approx(sum(image["ssim"] for image in found["images"]) / 3)
    assert [list(image) for image in found["images"]] == [["name", "psnr", "ssim"]] * 3
    assert found["images"][1] == {"name": "b", "psnr": None, "ssim": pytest.approx(1)}


def test_mean_is_of_the_scores():
    report = Report((Score("a", 20.0, 0.5, 10.0), Score("b", 30.0, 0.75, 30.0)))
    assert report.mean == Score("mean", 25.0, 0.625, 20.0)
    assert [row["psnr"] for row in report.rows()] == ["20.00", "30.00", "25.00"]
    assert report.as_json()["mean"] == {"psnr": 25.0, "ssim": 0.625, "psnr_masked": 20.0}


def test_two_files_of_any_name(tmp_path):
    report = evaluate(save(tmp_path / "result.png", picture(1)), save(tmp_path / "clean.png", picture(2)))
    assert [score.name for score in report.images] == ["result"]
    assert report.mean.psnr == report.images[0].psnr == pytest.approx(psnr(picture(1), picture(2)), abs=1e-9)


def test_sixteen_bits_are_rounded_to_eight_first(tmp_path):
    fine = (picture(1).permute(1, 2, 0).double().numpy() * 65535 + 100).clip(0, 65535).astype(np.uint16)
    images.write(tmp_path / "fine.png", from_array(fine))
    assert evaluate(tmp_path / "fine.png", save(tmp_path / "truth.png", picture(1))).mean.psnr == math.inf


def test_alpha_plays_no_part(tmp_path):
    images.write(tmp_path / "a.png", Picture(picture(1), torch.zeros(1, 24, 31)))
    assert evaluate(tmp_path / "a.png", save(tmp_path / "truth.png", picture(1))).mean.psnr == math.inf


def test_mask_scores_its_pixels(folders, tmp_path):
    mask = torch.zeros(1, 24, 31)
    mask[:, 3:9, 4:20] = 0.1  # any pixel that is not black counts
    for name in "abc":
        save(tmp_path / "mask" / f"{name}.png", mask)
    report = evaluate(*folders, tmp_path / "mask")
    expected = psnr(picture(11)[:, 3:9, 4:20], picture(1)[:, 3:9, 4:20])
    assert report.images[0].psnr_masked == pytest.approx(expected, abs=1e-9)
    assert report.as_json()["images"][1]["psnr_masked"] is None  # equal pictures
    assert report.rows()[1]["psnr_masked"] == "inf"


def test_missing_partners_are_named_on_both_sides(folders):
    predicted, truth = folders
    save(predicted / "extra.png", picture(4))
    (predicted / "a.tif").unlink()
    with pytest.raises(ConfigError, match=r"predicted lacks a; .*truth lacks extra"):
        evaluate(predicted, truth)


def test_many_missing_partners_are_counted(folders):
    predicted, truth = folders
    for index in range(7):
        save(predicted / f"x{index}.png", picture(4))
    with pytest.raises(ConfigError, match="x4 and 2 more"):
        evaluate(predicted, truth)


@pytest.mark.parametrize("size", [(1, 24, 31), (3, 24, 30)], ids=["grey", "smaller"])
def test_unlike_pictures_are_named(folders, size):
    predicted, truth = folders
    save(predicted / "a.tif", picture(1, size))
    with pytest.raises(ConfigError, match=r"a\.tif is 3[01] x 24 .*, .*a\.png is 31 x 24 pixels in colour"):
        evaluate(predicted, truth)


def test_two_grey_pictures(tmp_path):
    grey = [save(tmp_path / f"{seed}.png", picture(seed, (1, 24, 31))) for seed in (1, 2)]
    assert evaluate(*grey).mean.psnr == pytest.approx(psnr(picture(1, (1, 24, 31)), picture(2, (1, 24, 31))), abs=1e-9)


def test_masks_that_cannot_serve(folders, tmp_path):
    files = [folder / name for folder, name in zip(folders, ("a.tif", "a.png"), strict=True)]
    with pytest.raises(ConfigError, match=r"black\.png: the mask sets no pixel"):
        evaluate(*files, save(tmp_path / "black.png", torch.zeros(1, 24, 31)))
    with pytest.raises(ConfigError, match=r"small\.png: the mask is 30 x 24"):
        evaluate(*files, save(tmp_path / "small.png", torch.ones(1, 24, 30)))
    with pytest.raises(ConfigError, match="mask lacks a, b, c"):
        (tmp_path / "mask").mkdir()
        evaluate(*folders, tmp_path / "mask")


def test_pictures_smaller_than_the_window_are_named(tmp_path):
    small = save(tmp_path / "small.png", picture(1, (3, 24, 9)))
    with pytest.raises(ConfigError, match=r"small\.png: the images are 9 x 24 pixels"):
        evaluate(small, small)


def test_paths_that_do_not_fit(folders, tmp_path):
    predicted, truth = folders
    with pytest.raises(ConfigError, match="nowhere"):
        evaluate(tmp_path / "nowhere", truth)
    with pytest.raises(ConfigError, match=r"predicted is a folder, .*a\.png is a file"):
        evaluate(predicted, truth / "a.png")
    with pytest.raises(ConfigError, match=r"a\.png and a\.tif have the same name"):
        save(predicted / "a.png", picture(1))
        evaluate(predicted, truth)


def test_empty_folders(tmp_path):
    for side in ("p", "t"):
        (tmp_path / side).mkdir()
    with pytest.raises(ConfigError, match="hold no pictures"):
        evaluate(tmp_path / "p", tmp_path / "t")


def test_a_damaged_picture_is_named(folders):
    predicted, truth = folders
    (predicted / "b.tif").write_bytes((predicted / "b.tif").read_bytes()[:100])
    with pytest.raises(ImageDecodeError, match=r"b\.tif"):
        evaluate(predicted, truth)
