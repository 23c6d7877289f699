"""A model scored on a set: what it makes is what `restore` makes, scored as `evaluate` scores, once for each seed."""

from __future__ import annotations

import pytest
import torch
from pictures import near, picture, save

from residiff.data import images
from residiff.errors import ConfigError
from residiff.evaluate import evaluate, open_model_evaluation
from residiff.evaluate.cost import count

SIZE = (3, 24, 32)


@pytest.fixture
def pairs(tmp_path):
    """`clean/` and `degraded/`, and `mask/`."""
    for seed in range(3):
        save(tmp_path / "set" / "clean" / f"{seed}.png", picture(seed, SIZE))
        save(tmp_path / "set" / "degraded" / f"{seed}.png", near(seed, 0.1, SIZE))
        mask = torch.zeros(1, *SIZE[1:])
        mask[:, 6:20, 6:25] = 1
        save(tmp_path / "set" / "mask" / f"{seed}.png", mask)
    return tmp_path / "set"


def test_the_same_as_restoring_and_scoring(tiny, pairs, tmp_path):
    opened = open_model_evaluation(tiny, pairs, seed=4, output=tmp_path / "out")
    result = opened.result(opened.scores())
    for path in (pairs / "degraded").iterdir():
        restored = tiny.restore(images.read(path), seed=4)
        images.write(tmp_path / "by-hand" / path.name, restored)
    expected = evaluate(tmp_path / "by-hand", pairs / "clean", pairs / "mask")
    assert result.mean == pytest.approx(expected.mean)
    assert result.inputs["predicted"].sha256 == expected.inputs["predicted"].sha256
    written = evaluate(tmp_path / "out" / "seed-4", pairs / "clean", pairs / "mask")
    assert written.mean == pytest.approx(expected.mean)
    assert result.facts["steps"] == 2 and result.facts["seconds"] > 0
    assert result.facts["model_sha256"] == tiny.descriptor.sha256
    assert result.facts["GMAC"] == pytest.approx(2 * count(tiny.recipe, 24, 32).macs / 1e9)
    assert result.facts["peak_MiB"] > 50


def test_mean_and_spread_over_seeds(tiny, pairs):
    one, two, both = (
        opened.result(opened.scores())
        for opened in (
            open_model_evaluation(tiny, pairs, seed=0),
            open_model_evaluation(tiny, pairs, seed=1),
            open_model_evaluation(tiny, pairs, seed=0, repeats=2),
        )
    )
    assert one.mean["psnr"] != two.mean["psnr"]
    assert both.mean["psnr"] == pytest.approx((one.mean["psnr"] + two.mean["psnr"]) / 2)
    assert both.facts["spread"]["psnr"] == pytest.approx(abs(one.mean["psnr"] - two.mean["psnr"]) / 2**0.5)
    assert both.facts["means"] == {"0": pytest.approx(one.mean), "1": pytest.approx(two.mean)}
    assert "spread" not in one.facts


def test_steps_change_the_result(tiny, pairs):
    results = [
        opened.result(opened.scores()).mean["psnr"]
        for opened in (open_model_evaluation(tiny, pairs, steps=1), open_model_evaluation(tiny, pairs, steps=3))
    ]
    assert results[0] != results[1]


def test_the_test_part_is_scored(tiny, tmp_path):
    for split, seeds in (("train", range(3)), ("test", range(3, 5))):
        for seed in seeds:
            save(tmp_path / "set" / split / "clean" / f"{seed}.png", picture(seed, SIZE))
            save(tmp_path / "set" / split / "degraded" / f"{seed}.png", near(seed, 0.1, SIZE))
    opened = open_model_evaluation(tiny, tmp_path / "set")
    assert [score.name for score in opened.result(opened.scores()).images] == ["3", "4"]


def test_masks_serve_the_network_and_the_regions(masked, tiny, pairs):
    opened = open_model_evaluation(masked, pairs, protocol="istd-shadow-full")
    result = opened.result(opened.scores())
    assert {"psnr_shadow", "mae_nonshadow_pooled"} <= set(result.mean)
    assert set(result.inputs) == {"predicted", "truth", "mask"}
    alone = open_model_evaluation(masked, pairs, protocol="rain-y")
    assert set(alone.result(alone.scores()).inputs) == {"predicted", "truth"}
    by_region = open_model_evaluation(tiny, pairs, protocol="istd-shadow-full")
    assert "psnr_shadow" in by_region.result(by_region.scores()).mean


def test_pictures_are_resized_as_in_training(untrained, pairs):
    from residiff.restore import Restorer

    squashing = Restorer(untrained("data.resize=squash", "data.crop=16", "data.augment=mirror"))
    opened = open_model_evaluation(squashing, pairs, protocol="rain-y", as_trained=True)
    result = opened.result(opened.scores())
    assert result.mean["psnr"] < 60
    with pytest.raises(ConfigError, match=r"restored is 16 x 16 pixels .*make them alike"):
        list(open_model_evaluation(squashing, pairs, as_trained=True).scores())


def test_what_cannot_be_scored(tiny, masked, untrained, pairs, tmp_path):
    from residiff.restore import Restorer

    for path in (pairs / "mask").iterdir():
        path.unlink()
    (pairs / "mask").rmdir()
    with pytest.raises(ConfigError, match="masked needs masks"):
        open_model_evaluation(masked, pairs)
    with pytest.raises(ConfigError, match="istd-shadow-full needs masks"):
        open_model_evaluation(tiny, pairs, protocol="istd-shadow-full")
    with pytest.raises(ConfigError, match="repeats is 0"):
        open_model_evaluation(tiny, pairs, repeats=0)
    with pytest.raises(ConfigError, match="steps is 100000"):
        open_model_evaluation(tiny, pairs, steps=100_000)
    with pytest.raises(ConfigError, match="is no folder"):
        open_model_evaluation(tiny, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no degraded pictures"):
        open_model_evaluation(tiny, made_of_clean(tmp_path))
    generator = Restorer(untrained("task=generate", "network.shows_input=false"))
    with pytest.raises(ConfigError, match="makes pictures from noise"):
        open_model_evaluation(generator, pairs)


def made_of_clean(root):
    save(root / "photos" / "test" / "a.png", picture(1, SIZE))
    save(root / "photos" / "b.png", picture(2, SIZE))
    return root / "photos"
