"""What a recipe is trained on and what is held out of it: never the same pictures, in proportion, and on record."""

import re
from collections import Counter

import pytest
import torch
from runs import TINY, resumed
from trees import make_tree

from residiff.data.images import Picture, write
from residiff.errors import CheckpointError, ConfigError, ImageError
from residiff.recipe import override
from residiff.train import Run, training_data


def settings(*more):
    return override(TINY, ["validation.share=0.25", "validation.most=3", *more])


def colour_of(image):
    return round(float(image.mean()), 4)


def test_what_is_held_out_is_never_trained_on(tmp_path):
    make_tree("paired", tmp_path, pairs=8)
    training, held_out, record = training_data(settings(), tmp_path)
    seen = {colour_of(training(index).clean) for index in range(60)}
    held = {colour_of(pair.clean) for pair in held_out}
    assert len(seen) == 6 and len(held) == 2 and not seen & held
    assert (record["on"], record["pairs"]) == ("carved", 2)
    assert re.fullmatch(rf"folder {tmp_path.name}, 8 pairs \([0-9a-f]{{8}}\), 2 held out", record["of"])
    assert "without 2 held out" in training.source


def test_the_test_split_is_used_if_one_says_so(tmp_path):
    make_tree("paired", tmp_path, pairs=8, test=5)
    training, held_out, record = training_data(settings("validation.on=test"), tmp_path)
    assert training.size == 8 and len(held_out) == 3
    assert record["on"] == "test" and "3 of them" in record["of"]
    assert not {colour_of(training(i).clean) for i in range(16)} & {colour_of(pair.clean) for pair in held_out}


def test_nothing_is_held_out_if_one_says_so(tmp_path):
    make_tree("paired", tmp_path, pairs=8)
    training, held_out, record = training_data(settings("validation.on=none"), tmp_path)
    assert (training.size, held_out, record) == (8, (), {})


def folder_of(place, count, value):
    for index in range(count):
        write(place / f"{index}.png", Picture(torch.full((3, 24, 24), value + index / 255)))


def test_a_mixture_is_in_proportion_and_each_part_is_its_own(tmp_path):
    folder_of(tmp_path / "dark", 10, 0.1)
    folder_of(tmp_path / "bright", 10, 0.8)
    parts = (
        "[{path='dark', weight=3, degrade={name='noise', parameters={sigma=0}}}, "
        "{path='bright', weight=1, degrade={name='blank'}}]"
    )
    training, held_out, record = training_data(settings(f"data.mixture={parts}", "data.augment=none"), tmp_path)
    pairs = [training(index) for index in range(2000)]
    shares = Counter("dark" if pair.clean.mean() < 0.5 else "bright" for pair in pairs)
    assert shares == {"dark": 1500, "bright": 500}
    assert all(torch.equal(pair.clean, pair.degraded) == (pair.clean.mean() < 0.5) for pair in pairs)
    assert Counter(bool(pair.clean.mean() < 0.5) for pair in held_out) == {True: 2, False: 1}
    assert record["pairs"] == 3 and "folder dark" in record["of"] and "folder bright" in record["of"]
    assert "folder dark" in training.name(0) or "dark" in training.source


def test_two_procedural_sources_show_different_pictures():
    parts = "[{weight=1}, {weight=1, degrade={name='noise', parameters={sigma=0}}}]"
    training, _, _ = training_data(settings(f"data.mixture={parts}"), None)
    clean = [tuple(training(index).clean.flatten()[:8].tolist()) for index in range(40)]
    assert len(set(clean)) == len(clean)


def test_a_mixture_of_folders_needs_their_folder():
    with pytest.raises(ConfigError, match="give the folder that they are in with --data"):
        training_data(settings("data.mixture=[{path='a'}]"), None)


def test_clean_pictures_alone_are_degraded_by_the_recipe(tmp_path):
    folder_of(tmp_path, 8, 0.3)
    training, _, _ = training_data(settings(), tmp_path)
    pair = training(0)
    assert 0.1 < (pair.degraded - pair.clean).std() < 0.2, "noise of 40 grey levels"
    assert training.source.endswith(", noise")


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_cannot_be_read_are_replaced_within_bounds(tmp_path, workers):
    folder_of(tmp_path / "set", 20, 0.3)
    bad = tmp_path / "set" / "7.png"
    bad.write_bytes(bad.read_bytes()[:40])
    recipe = settings("validation.on=none", "training.iterations=12")
    training, _, _ = training_data(recipe, tmp_path / "set")
    whole = Run(recipe, tmp_path / "whole")
    losses = [progress.loss for progress in whole.train(training, workers)]
    (fault,) = whole.log.events("fault")
    assert "7.png" in fault and len(losses) == 12

    parts = Run(recipe, tmp_path / "parts")
    steps = parts.train(training)
    for _ in range(9):
        next(steps)
    steps.close()
    again = resumed(tmp_path / "parts", recipe)
    assert [progress.loss for progress in again.train(training, workers)] == losses[9:]
    assert again.log.events("fault") == [fault]

    other = tmp_path / "set" / "3.png"
    other.write_bytes(b"")
    with pytest.raises(ImageError, match="2 pictures cannot be read.*7.png|2 pictures cannot be read.*3.png") as caught:
        list(Run(recipe, tmp_path / "third").train(training, workers))
    assert "mend them or take them out" in str(caught.value)


def test_a_run_is_not_continued_on_other_pictures_of_the_same_names(tmp_path):
    recipe = settings("training.iterations=4")
    for name, value in {"a": 0.2, "b": 0.6}.items():
        folder_of(tmp_path / name / "set", 8, value)
    path = tmp_path / "b" / "set" / "3.png"
    path.write_bytes(path.read_bytes() + b"\0")
    first, other = (training_data(recipe, tmp_path / name / "set").training for name in "ab")
    run = Run(recipe, tmp_path / "run")
    steps = run.train(first)
    next(steps)
    steps.close()
    again = resumed(tmp_path / "run", recipe)
    with pytest.raises(CheckpointError, match="begun on folder set.*, not on folder set"):
        next(again.train(other))
    assert again.log.events("resumed") == []
    moved = tmp_path / "elsewhere" / "set"
    moved.parent.mkdir()
    (tmp_path / "a" / "set").rename(moved)
    list(again.train(training_data(recipe, moved).training))
    assert len(again.log.events("resumed")) == 1
