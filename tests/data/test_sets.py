"""Paired sets as folders: what is written is what the degradation gives, and training can read it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.data import images
from residiff.data.catalog.opening import open_set
from residiff.data.degrade.table import DEGRADATIONS, degrade
from residiff.data.images import Picture, from_array
from residiff.data.sets import degradations, degrade_folder, make_set, parse_ranges
from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError, ImageError
from residiff.seeds import generator


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_degradation_is_listed_with_its_ranges():
    rows = {row["name"]: row for row in degradations()}
    assert list(rows) == list(DEGRADATIONS)
    assert all(row["summary"] for row in rows.values())
    for name, row in rows.items():
        ranges = parse_ranges(row["parameters"].split(", ") if row["parameters"] else [])
        assert ranges == {p.name: p.default for p in DEGRADATIONS[name].parameters}
        assert row["mask"] == ("yes" if DEGRADATIONS[name].gives_mask else "no")


def test_ranges():
    assert parse_ranges([]) == {}
    assert parse_ranges(["sigma=5,50", "gain=0.01", "x=-1e-3,2"]) == {
        "sigma": (5.0, 50.0),
        "gain": (0.01, 0.01),
        "x": (-0.001, 2.0),
    }


def test_others_are_for_testing(tmp_path):
    names = list(make_set(tmp_path / "both", "noise", 2, 16, {}, seed=3, test=1))
    assert names == ["000000", "000001", "000002"]
    list(make_set(tmp_path / "one", "noise", 3, 16, {}, seed=3))
    for name, split in zip(names, ["train", "train", "test"], strict=True):
        for kind in ("clean", "degraded"):
            ours = (tmp_path / "both" / split / kind / f"{name}.png").read_bytes()
            assert ours == (tmp_path / "one" / kind / f"{name}.png").read_bytes()
    assert not (tmp_path / "both" / "clean").exists()


def entries_of(folder):
    """The files of each pair of a set, by kind."""
    pictures = open_set(folder)
    return [{kind: parts[place].path for kind, parts in pictures.columns.items()} for place in range(len(pictures))]


@pytest.mark.parametrize("setting", ["sigma", "sigma=", "sigma=a", "sigma=1,", "sigma=1,2,3", "", "=", "sigma=1;2"])
def test_what_is_no_range_is_named(setting):
    with pytest.raises(ConfigError, match=f"'{setting}' "):
        parse_ranges([setting])


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_set_is_made_of_procedural_pictures_and_the_degradation(tmp_path, kind):
    names = list(make_set(tmp_path, kind, 2, 24, {}, seed=3))
    assert names == ["000000", "000001"]
    entries = entries_of(tmp_path)
    assert [entry["clean"].stem for entry in entries] == names
    for index, entry in enumerate(entries):
        clean = Picture(clean_image(index, 24, 3))
        expected = degrade(kind, clean.pixels, generator(3, 5, index))
        written = {part: images.to_array(images.read(path)) for part, path in entry.items()}
        np.testing.assert_array_equal(written["clean"], images.to_array(clean))
        np.testing.assert_array_equal(written["degraded"], images.to_array(Picture(expected.image)))
        assert ("mask" in written) == DEGRADATIONS[kind].gives_mask
        if "mask" in written:
            np.testing.assert_array_equal(written["mask"], images.to_array(Picture(expected.mask)))


def test_a_longer_set_begins_as_a_shorter_one_and_the_seed_matters(tmp_path):
    for name, count, seed in [("short", 2, 0), ("long", 3, 0), ("other", 2, 1)]:
        list(make_set(tmp_path / name, "noise", count, 16, {}, seed))
    short, long, other = (bytes_of(tmp_path / name) for name in ("short", "long", "other"))
    assert short.items() < long.items() and len(long) == 6
    assert short.keys() == other.keys() and not set(short.values()) & set(other.values())


def test_parameters_reach_the_degradation(tmp_path):
    list(make_set(tmp_path, "noise", 1, 32, {"sigma": (0, 0)}, 0))
    made = bytes_of(tmp_path)
    assert made["clean/000000.png"] == made["degraded/000000.png"]


@pytest.mark.parametrize("size", [1, 2, 3, 17])
def test_sets_of_small_pictures(tmp_path, size):
    list(make_set(tmp_path, "noise", 1, size, {}, 0))
    assert images.read(tmp_path / "degraded/000000.png").pixels.shape == (3, size, size)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"size": 0}, "size is 0"),
        ({"size": 20_000}, "size is 20000; allowed are 1 to 16384"),
        ({"kind": "noize"}, "'noize' is not a degradation: did you mean 'noise'"),
        ({"parameters": {"sigmas": 3}}, "did you mean 'sigma'"),
        ({"parameters": {"sigma": (9, 3)}}, "give .low, high. with"),
        ({"parameters": {"sigma": (float("nan"), 3)}}, "sigma = "),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_first_file(tmp_path, changed, message):
    settings = {"kind": "noise", "count": 1, "size": 16, "parameters": {}, "seed": 0}
    with pytest.raises(ConfigError, match=message):
        list(make_set(tmp_path / "set", **settings | changed))
    assert not (tmp_path / "set").exists()


# ---------------------------------------------------------------- a folder of the user's


@pytest.fixture
def photos(tmp_path, draw):
    """Grey, colour, transparent and 16-bit pictures, in name order a, b, c, d, and what is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(draw((20, 30))).save(folder / "a.png")
    Image.fromarray(draw((21, 31, 3))).save(folder / "b.jpg")
    images.write(folder / "c.png", from_array(draw((22, 32, 4))))
    images.write(folder / "d.tiff", from_array(draw((23, 33, 3), np.uint16)))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_is_degraded_in_the_order_of_its_names(photos, tmp_path):
    before = bytes_of(photos)
    done = list(degrade_folder(photos, tmp_path / "set", "shadow", {}, 7))
    assert [(each.source.stem, each.error) for each in done] == [(name, None) for name in "abcd"]
    entries = entries_of(tmp_path / "set")
    assert [entry["mask"].name for entry in entries] == ["a.png", "b.png", "c.png", "d.png"]
    for index, (source, entry) in enumerate(zip(images.list_images(photos), entries, strict=True)):
        read, clean, degraded = (images.read(path) for path in (source, entry["clean"], entry["degraded"]))
        colours = read.pixels.expand(3, -1, -1).contiguous()
        expected = degrade("shadow", colours, generator(7, 5, index))
        assert torch.equal(clean.pixels, colours) and clean.bit_depth == read.bit_depth
        assert degraded.pixels.shape == colours.shape and degraded.bit_depth == read.bit_depth
        torch.testing.assert_close(degraded.pixels, expected.image, atol=1e-6, rtol=0)
        if read.alpha is not None:
            assert torch.equal(degraded.alpha, read.alpha)
    assert bytes_of(photos) == before


@pytest.mark.parametrize("output", ["photos", "photos/../photos", "set-of-clean"])
def test_the_clean_pictures_are_never_written_over(photos, tmp_path, output):
    source = photos
    if output == "set-of-clean":  # the layout that the result has: <output>/clean is the source
        (tmp_path / output).mkdir()
        source = photos.rename(tmp_path / output / "clean")
    before = bytes_of(tmp_path)
    with pytest.raises(ConfigError, match="over the clean pictures"):
        list(degrade_folder(source, tmp_path / output, "noise", {}, 0))
    assert bytes_of(tmp_path) == before


def test_two_pictures_of_one_name_are_refused_before_the_first_file(photos, tmp_path):
    Image.new("L", (8, 8)).save(photos / "b.png")
    with pytest.raises(ConfigError, match="b.jpg and b.png have the same name"):
        list(degrade_folder(photos, tmp_path / "set", "noise", {}, 0))
    assert not (tmp_path / "set").exists()


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no pictures"):
        list(degrade_folder(tmp_path, tmp_path / "set", "noise", {}, 0))


def test_a_bad_picture_is_left_out_and_the_others_are_what_they_would_be(photos, tmp_path):
    list(degrade_folder(photos, tmp_path / "whole", "noise", {}, 0))
    (photos / "b.jpg").write_text("no picture")
    done = list(degrade_folder(photos, tmp_path / "set", "noise", {}, 0))
    assert [each.source.name for each in done if each.error is not None] == ["b.jpg"]
    assert isinstance(done[1].error, ImageError) and "b.jpg" in str(done[1].error)
    whole, rest = (bytes_of(tmp_path / name) for name in ("whole", "set"))
    assert rest == {name: data for name, data in whole.items() if not name.endswith("b.png")} and len(rest) == 6


def test_the_command_lists_what_it_left_out(cli, photos, tmp_path):
    (photos / "b.jpg").write_text("no picture")
    done = cli("data", "degrade", photos, "-o", tmp_path / "set", "-k", "noise")
    assert done.code == 3 and "3 pairs in" in done.err and ", 1 failed" in done.err
    assert done.err.index(f"failed: {photos / 'b.jpg'}") < done.err.index("left out: ")
    row = json.loads((tmp_path / "set/failures.jsonl").read_text())
    assert row["source"] == str(photos / "b.jpg") and "b.jpg" in row["message"]
    assert len(entries_of(tmp_path / "set")) == 3
    assert cli("data", "degrade", photos, "-o", tmp_path / "set", "-k", "noise").code == 2
    assert (tmp_path / "set/failures.jsonl").exists()
