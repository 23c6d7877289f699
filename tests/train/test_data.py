"""What a recipe is trained on and what is held out of it: never the same pictures, in proportion, and on record."""

import re
from collections import Counter

import pytest
import torch
import trees
from archives import KINDS, pack, png
from runs import TINY, resumed
from trees import encoded, make_database, make_tree, save

from residiff.data.catalog import open_set
from residiff.data.images import Picture, write
from residiff.errors import ConfigError, ImageError
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


# One clean picture in several pairs


def clean_names(pairs):
    return {pairs.columns["clean"][place].name for place in range(pairs.size)}


def colours(pairs):
    return {colour_of(pair.clean) for pair in pairs}


def test_a_long_exposure_of_several_short_ones_is_in_one_part_alone(tmp_path):
    make_tree("sid-rgb", tmp_path, pairs=40)
    training, held_out, record = training_data(settings("validation.share=0.1"), tmp_path)
    assert (training.size, len(held_out), record["pairs"]) == (36, 3, 3)
    assert record["of"].endswith(", 3 of 4 held out") and training.source.endswith(", without 4 held out")
    assert len(clean_names(training)) == 18
    assert not colours(held_out) & colours(training(index) for index in range(36))


@pytest.mark.parametrize("wrote", ["{folder}/sharp/{n}.png", "sharp/../sharp/{n}.png", "copies/{n}-{row}.png"])
def test_a_picture_that_a_manifest_repeats_is_in_one_part_alone(tmp_path, wrote):
    """Whether it comes by the same path, by another, or as a copy."""
    lines = ["degraded,clean"]
    for row in range(24):
        number, degraded = row % 8, f"blurred/{row}.png"
        name = f"sharp/{number}.png" if row < 8 else wrote.format(folder=tmp_path.resolve(), n=number, row=row)
        lines.append(f"{degraded},{name}")
        save(tmp_path / name, number, "clean")
        save(tmp_path / degraded, row, "degraded")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    training, held_out, record = training_data(settings("validation.most=5"), tmp_path)
    seen, held = colours(training(index) for index in range(60)), colours(held_out)
    assert held and not seen & held and len(seen | held) == 8
    assert training.size == 24 - 3 * len(held)
    assert ("copies of what is held out" in training.source) == wrote.startswith("copies")


def test_what_one_part_of_a_mixture_holds_out_no_other_trains_on(tmp_path):
    folder_of(tmp_path / "set", 20, 0.1)
    parts = "[{path='set', weight=3}, {path='set', weight=1, degrade={name='blank'}}, {path='', weight=1}]"
    recipe = settings(f"data.mixture={parts}", "data.augment=none", "validation.most=8", "validation.share=0.3")
    training, held_out, _ = training_data(recipe, tmp_path)
    first, second, procedural = (part for part, _ in training.parts)
    of_set = [pair for pair in held_out if pair.clean.std() < 1e-3]
    assert len(of_set) == 7 and len(held_out) == 9 and procedural.size == 0
    assert first.size == second.size == 20 - len(colours(of_set))
    assert not colours(of_set) & colours(part(index) for part in (first, second) for index in range(20))


def test_a_set_of_copies_alone_is_trained_on_and_said_to_be(tmp_path, caplog):
    for index in range(3):
        save(tmp_path / f"{index}.png", 0, "clean")
    training, held_out, record = training_data(settings(), tmp_path)
    assert (training.size, len(held_out), record["seen"]) == (2, 1, True)
    assert "without 1 held out, all of them copies of these" in training.source
    assert "trained on all the same; take more pictures" in caplog.text


def test_a_test_picture_that_is_in_training_too_is_not_trained_on(tmp_path):
    make_tree("paired", tmp_path, pairs=8, test=3)
    for kind in ("clean", "degraded"):
        (tmp_path / "train" / kind / "again.png").write_bytes((tmp_path / "test" / kind / "1.png").read_bytes())
    (tmp_path / "train" / "mask" / "again.png").write_bytes((tmp_path / "test" / "mask" / "1.png").read_bytes())
    training, held_out, record = training_data(settings("validation.on=test"), tmp_path)
    assert training.size == 8 and len(held_out) == 3
    assert training.source.endswith(", without 1 copy of what is held out")
    assert not colours(held_out) & colours(training(index) for index in range(16))


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


@pytest.mark.parametrize("layout", ["paired", "shards", "lsun", "ffhq-database", "cifar-10"])
def test_other_pictures_of_the_same_names_are_another_set(tmp_path, monkeypatch, layout):
    def made(name):
        if layout == "ffhq-database":
            make_database(tmp_path / name, [(b"32-%05d" % n, encoded(n, "clean", "train", 24)) for n in range(6)])
        else:
            make_tree(layout, tmp_path / name)
        return open_set(tmp_path / name)

    first, again = made("a"), made("b")
    monkeypatch.setattr(trees, "colour", lambda index, kind, split="train": (200 - 6 * (index % 30), 30, 20))
    other = made("c")
    assert first.fingerprint == again.fingerprint != other.fingerprint
    monkeypatch.undo()
    assert open_set(tmp_path / "a").fingerprint == first.fingerprint


def test_one_picture_of_another_size_in_many_is_another_set(tmp_path):
    members = {f"{number:03d}.png": png(number) for number in range(100)}
    for name, data in {"a": members["050.png"], "b": members["050.png"] + b"\0"}.items():
        pack(tmp_path / name / "train" / "0.tar", members | {"050.png": data})
        make_database(tmp_path / f"{name}-lmdb" / "cat", [(b"%03d" % n, data if n == 50 else b"x") for n in range(100)])
    for kind in ("", "-lmdb"):
        assert open_set(tmp_path / f"a{kind}").fingerprint != open_set(tmp_path / f"b{kind}").fingerprint


def test_a_run_is_not_continued_on_exchanged_shards(cli, tmp_path):
    """Whose members have the same names, and even sizes."""
    for name, shift in {"a": 0, "b": 100}.items():
        members = {f"{n:02d}.{kind}.png": png(2 * (n + shift) + (kind == "clean")) for n in range(8) for kind in KINDS}
        pack(tmp_path / name / "train" / "0.tar", members)
    recipe = settings("data.crop=8", "data.resize=short-side", "data.picture=8", "training.iterations=3")
    (tmp_path / "recipe.toml").write_text(recipe.toml(), "utf-8")

    def trained(name, *more):
        given = ["train", tmp_path / "recipe.toml", "-o", tmp_path / "run", "--data", tmp_path / "set"]
        (tmp_path / name).rename(tmp_path / "set")
        done = cli(*given, "--no-tensorboard", *more)
        (tmp_path / "set").rename(tmp_path / name)
        return done

    assert trained("a").code == 0
    (tmp_path / "run" / "checkpoints").joinpath("step-000000000003.safetensors").unlink()
    refused = trained("b", "--resume")
    assert refused.code == 2 and "was begun on folder set, 8 pairs" in refused.err, refused.err
    assert trained("a", "--resume").code == 0


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
    with pytest.raises(ConfigError, match="begun on folder set.*, not on folder set"):
        next(again.train(other))
    assert again.log.events("resumed") == []
    moved = tmp_path / "elsewhere" / "set"
    moved.parent.mkdir()
    (tmp_path / "a" / "set").rename(moved)
    list(again.train(training_data(recipe, moved).training))
    assert len(again.log.events("resumed")) == 1
