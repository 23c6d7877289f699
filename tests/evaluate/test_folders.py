"""Scoring of files and folders: the report, its JSON, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from pictures import exact, picture, save, save_16

from residiff.data import images
from residiff.data.images import Picture
from residiff.errors import ConfigError, ImageDecodeError
from residiff.evaluate import evaluate, rows_of
from residiff.metrics import psnr, ssim


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
    assert report.images[0].values["psnr"] == pytest.approx(psnr(exact(picture(11)), exact(picture(1))), abs=1e-9)
    assert report.images[2].values["ssim"] == pytest.approx(ssim(exact(picture(13)), exact(picture(3))), abs=1e-9)
    assert report.images[1].values["psnr"] == math.inf


def test_json_is_exact_and_valid(folders):
    found = json.loads(json.dumps(evaluate(*folders).as_json(), allow_nan=False))
    assert {"protocol", "version", "count", "mean", "images", "inputs"} <= set(found)
    assert (found["protocol"], found["version"], found["count"]) == ("rgb-8bit-full", 1, 3)
    assert found["mean"]["psnr"] is None
    assert found["mean"]["ssim"] == pytest.approx(sum(image["ssim"] for image in found["images"]) / 3)
    assert [list(image) for image in found["images"]] == [["name", "psnr", "ssim"]] * 3
    assert found["images"][1] == {"name": "b", "psnr": None, "ssim": pytest.approx(1)}
    assert {side: each["count"] for side, each in found["inputs"].items()} == {"predicted": 3, "truth": 3}


def test_two_files_of_any_name(tmp_path):
    report = evaluate(save(tmp_path / "result.png", picture(1)), save(tmp_path / "clean.png", picture(2)))
    assert [score.name for score in report.images] == ["result"]
    expected = pytest.approx(psnr(exact(picture(1)), exact(picture(2))), abs=1e-9)
    assert report.mean["psnr"] == report.images[0].values["psnr"] == expected


def test_sixteen_bits_on_both_sides_are_rounded_to_eight_first(tmp_path):
    sides = save_16(tmp_path / "fine.png", picture(1)), save_16(tmp_path / "truth.png", picture(1))
    assert evaluate(*sides).mean["psnr"] == math.inf


def test_sixteen_bits_against_eight_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"fine\.png has 16 bits, .*truth\.png has 8; .*--bit-depth"):
        evaluate(save_16(tmp_path / "fine.png", picture(1)), save(tmp_path / "truth.png", picture(1)))


def test_alpha_plays_no_part(tmp_path):
    images.write(tmp_path / "a.png", Picture(picture(1), torch.zeros(1, 24, 31)))
    assert evaluate(tmp_path / "a.png", save(tmp_path / "truth.png", picture(1))).mean["psnr"] == math.inf


def test_mask_scores_its_pixels(folders, tmp_path):
    mask = torch.zeros(1, 24, 31)
    mask[:, 3:9, 4:20] = 0.1  # any pixel that is not black counts
    for name in "abc":
        save(tmp_path / "mask" / f"{name}.png", mask)
    report = evaluate(*folders, tmp_path / "mask")
    expected = psnr(exact(picture(11))[:, 3:9, 4:20], exact(picture(1))[:, 3:9, 4:20])
    assert report.images[0].values["psnr_masked"] == pytest.approx(expected, abs=1e-9)
    assert report.as_json()["images"][1]["psnr_masked"] is None  # equal pictures
    assert rows_of(report)[1]["psnr_masked"] == "inf"


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
    grey = [picture(seed, (1, 24, 31)) for seed in (1, 2)]
    files = [save(tmp_path / f"{seed}.png", each) for seed, each in enumerate(grey)]
    assert evaluate(*files).mean["psnr"] == pytest.approx(psnr(*map(exact, grey)), abs=1e-9)


def test_masks_that_cannot_serve(folders, tmp_path):
    files = [folder / name for folder, name in zip(folders, ("a.tif", "a.png"), strict=True)]
    with pytest.raises(ConfigError, match=r"black\.png: the mask sets no pixel"):
        evaluate(*files, save(tmp_path / "black.png", torch.zeros(1, 24, 31)))
    with pytest.raises(ConfigError, match=r"small\.png: the mask is 30 x 24"):
        evaluate(*files, save(tmp_path / "small.png", torch.ones(1, 24, 30)))
    with pytest.raises(ConfigError, match="hold no pictures|mask lacks a, b, c"):
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
    with pytest.raises(ConfigError, match=r"truth.a\.png is a file, and .*predicted is a folder"):
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
