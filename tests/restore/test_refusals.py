"""What cannot be written or used is refused before the network runs, and never passed over."""

import numpy as np
import pytest
import torch

from residiff.data.sets import make_set
from residiff.errors import ConfigError, ImageUnsupportedError, ModelFileError
from residiff.restore import Job, Options, plan, restore_file


def options(**changed):
    chosen = {"steps": None, "seed": 0, "strength": 1.0, "format": None, "quality": 95, "bit_depth": None, "suffix": ""}
    return Options.checked(**(chosen | changed), max_pixels=10**6)


def test_an_unknown_suffix_is_no_folder(picture_file, tmp_path):
    with pytest.raises(ConfigError, match="cannot write"):
        plan([picture_file("a.png")], tmp_path / "out.jxl", Options())


def test_sixteen_bits_need_a_format_that_holds_them():
    with pytest.raises(ConfigError, match="holds 8 bits"):
        options(format="jpg", bit_depth=16)
    assert options(format="png", bit_depth=16).bit_depth == 16


def test_alpha_is_refused_before_the_network_runs(tiny, picture_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "restore", lambda *_arguments, **_options: pytest.fail("the network ran"))
    with pytest.raises(ImageUnsupportedError, match="holds no alpha"):
        restore_file(Job(picture_file("a.png", (8, 8, 4)), tmp_path / "b.jpg"), tiny, Options())


def test_infinity_is_no_white_picture(tiny, draw, monkeypatch):
    real = tiny.denoiser.backbone.forward
    monkeypatch.setattr(
        tiny.denoiser.backbone, "forward", lambda *given: tuple(torch.full_like(y, -torch.inf) for y in real(*given))
    )
    with pytest.raises(ModelFileError, match="not finite"):
        tiny(draw((8, 8, 3), np.uint8), steps=1)


def test_two_sets_are_not_mixed(tmp_path):
    assert list(make_set(tmp_path, "noise", 1, 16, {}, 0)) == ["000000"]
    with pytest.raises(ConfigError, match="would mix two sets"):
        list(make_set(tmp_path, "rain", 1, 16, {}, 0))
