"""Scoring in one process and in several gives the same, in the same order; bad pictures are named, never scored."""

from __future__ import annotations

import pytest
from pictures import near, picture, save

from residiff.data import images
from residiff.errors import ConfigError, ImageDecodeError
from residiff.evaluate import evaluate, open_evaluation
from residiff.evaluate.scoring import WORTH_PROCESSES


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Enough pictures for two processes."""
    root = tmp_path_factory.mktemp("many")
    for seed in range(2 * WORTH_PROCESSES):
        save(root / "p" / f"{seed}.png", near(seed, 0.1))
        save(root / "t" / f"{seed}.png", picture(seed))
    return root / "p", root / "t"


def test_processes_change_nothing(many):
    alone, shared = (evaluate(*many, processes=processes) for processes in (1, 2))
    assert alone == shared
    assert len(alone.images) == open_evaluation(*many).total == 2 * WORTH_PROCESSES


def test_a_bad_picture_stops_other_processes_too(many, tmp_path):
    for folder in many:
        for path in folder.iterdir():
            target = tmp_path / folder.name / path.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes()[:70] if path.name == "33.png" else path.read_bytes())
    with pytest.raises(ImageDecodeError, match=r"33\.png"):
        evaluate(tmp_path / "p", tmp_path / "t", processes=2)


def test_hashes_are_of_names_and_pixels(many, tmp_path):
    opened = open_evaluation(*many)
    before = opened.result(opened.scores()).inputs
    for path in many[0].iterdir():
        save(tmp_path / "p" / f"{path.stem}.tif", images.read(path).pixels)
    again = open_evaluation(tmp_path / "p", many[1])
    after = again.result(again.scores()).inputs
    assert after["predicted"].sha256 == before["predicted"].sha256  # in another format
    save(tmp_path / "p" / "5.tif", picture(6))
    changed = open_evaluation(tmp_path / "p", many[1])
    found = changed.result(changed.scores()).inputs
    assert found["predicted"].sha256 != before["predicted"].sha256
    assert found["truth"].sha256 == before["truth"].sha256


def test_scores_come_one_by_one(many):
    scores = open_evaluation(*many).scores()
    first = next(scores)
    assert first.score.name == "0" and set(first.hashes) == {"predicted", "truth"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"protocol": "istd-shadow-256"}, "scores by region and needs masks"),
        ({"protocol": "istd-shadow-25"}, "did you mean 'istd-shadow-256'"),
        ({"protocol": "niqe"}, "scores pictures by themselves"),
        ({"layout": "nothing"}, "no layout 'nothing'"),
    ],
)
def test_what_does_not_fit_is_said_at_once(many, settings, said):
    with pytest.raises(ConfigError, match=said):
        open_evaluation(*many, **settings)


def test_true_pictures_and_masks_that_are_missing_or_too_many(many):
    with pytest.raises(ConfigError, match="compares with true pictures"):
        open_evaluation(many[0], None)
    with pytest.raises(ConfigError, match="rain-y takes no mask"):
        open_evaluation(*many, many[0], protocol="rain-y")


def test_one_missing_partner_in_many_is_counted(many, tmp_path):
    save(tmp_path / "p" / "0.png", picture(0))
    found = open_evaluation(tmp_path / "p", many[1], partial=True)
    result = found.result(found.scores())
    assert result.inputs["predicted"].count == 1
    assert len(result.missing[str(tmp_path / "p")]) == 2 * WORTH_PROCESSES - 1
