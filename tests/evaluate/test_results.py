"""Results as files: nothing is lost on the way, and what cannot stand side by side does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from residiff.errors import ConfigError
from residiff.evaluate.results import Inputs, Result, Score, check_comparable, load

INPUTS = {"predicted": Inputs("out", 2, "aa"), "truth": Inputs("gt", 2, "bb")}


def result(**changes) -> Result:
    images = (
        Score("a", {"psnr": 20.0, "mae": 4.0}, {"mae": 30.0}),
        Score("b", {"psnr": math.inf, "mae": 1.0}, {"mae": 10.0}),
    )
    made = Result("istd", 1, images, inputs=INPUTS, label="ours", facts={"steps": 5}, left_out={"lpips": "no weights"})
    return replace(made, **changes)


def test_means_are_of_pictures_and_of_pixels():
    assert result().mean == {"psnr": math.inf, "mae": 2.5, "mae_pooled": (4 * 30 + 10) / 40}


def test_saved_and_loaded(tmp_path):
    made = result(missing={"gt": ("x",)}, whole={})
    made.save(tmp_path / "result.json")
    for place in (tmp_path, tmp_path / "result.json"):
        found = load(place)
        assert found.images == made.images
        assert (found.mean, found.inputs, found.label, found.facts) == (made.mean, made.inputs, "ours", {"steps": 5})
        assert list(found.missing["gt"]) == ["x"]
    json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)


def test_sets_as_wholes(tmp_path):
    made = Result("fid", 1, (), {"fid": 3.25}, {"predicted": Inputs("out", 9, "cc")})
    made.save(tmp_path / "r.json")
    assert load(tmp_path / "r.json").mean == {"fid": 3.25}
    assert json.loads((tmp_path / "r.json").read_text())["count"] == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no result"),
        ("[]", "no result"),
        ('{"format_version": 1}', "no result"),
        ('{"format_version": 2}', "of version 2"),
    ],
)
def test_other_files_are_refused(tmp_path, text, said):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(tmp_path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="residiff evaluate -o"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (result(protocol="rain-y"), "different protocols.*score both by one"),
        (result(version=2), "different protocols"),
        (result(inputs=INPUTS | {"truth": Inputs("other", 2, "dd")}), r"different truth pictures \(gt, other\)"),
        (result(facts={"networks": {"niqe": "own fit"}}), "networks of different weights"),
    ],
)
def test_what_cannot_be_compared(other, said):
    with pytest.raises(ConfigError, match=said):
        check_comparable([result(), other])


def test_other_predictions_can():
    check_comparable([result(), result(inputs=INPUTS | {"predicted": Inputs("theirs", 2, "ee")})])


def test_unknown_measures():
    with pytest.raises(ConfigError, match="no measure 'ssim'; it has psnr, mae"):
        result().values("ssim")
