"""Layouts of several shapes, each as somebody keeps it; and how parts are made and patterns are read."""

import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from multiprocessing.pool import ThreadPool

import pytest
from trees import encoded, indices, make_database, make_tree, save, seen, told

from residiff.data.catalog.naming import RAINDROP, SID
from residiff.data.catalog.opening import LAYOUTS, detect, open_set
from residiff.data.catalog.tree import Tree, fields_of, found, plain
from residiff.data.parts import FilePart
from residiff.errors import ConfigError


@pytest.mark.parametrize(("small", "columns"), [("Rain100L", "rain100l"), ("Rain100H", "rain100h")])
def test_rain100_as_mprnet_has_it(tmp_path, small, columns):
    for kind, name in (("clean", "target"), ("degraded", "input")):
        save(tmp_path / f"{small}/{name}/7.png", 7, kind, "test")
    assert detect(tmp_path) == columns and indices(open_set(tmp_path, split="test"), "degraded") == [7]


def test_rain_by_split_may_be_light_or_heavy(tmp_path):
    save(tmp_path / "train/norain/norain-1.png", 1, "clean")
    save(tmp_path / "train/rain/norain-1x2.png", 1, "degraded")
    with pytest.raises(ConfigError, match="fits the layouts rain100l and rain100h; choose one with data.layout"):
        detect(tmp_path)
    assert seen(open_set(tmp_path, "rain100h"), "degraded") == [(1, "degraded", "train")]


@pytest.mark.parametrize(("layout", "inside"), [("lol-v2-real", "Real_captured"), ("lol-v2-synthetic", "Synthetic")])
def test_the_parts_of_lol_v2_are_known_alone_and_together(tmp_path, layout, inside):
    for each in ("lol-v2-real", "lol-v2-synthetic"):
        make_tree(each, tmp_path, pairs=2, test=1)
    assert detect(tmp_path / inside) == layout
    with pytest.raises(ConfigError, match="lol-v2-real and lol-v2-synthetic"):
        detect(tmp_path)
    assert len(open_set(tmp_path, layout)) == 2


def test_istd_with_both_kinds_of_free_pictures_must_be_chosen(tmp_path):
    for layout in ("istd", "istd-plus"):
        make_tree(layout, tmp_path)
    with pytest.raises(ConfigError, match="istd and istd-plus"):
        detect(tmp_path)


def test_sidd_may_leave_out_the_number_of_the_scene(tmp_path):
    for kind, word in (("clean", "GT"), ("degraded", "NOISY")):
        save(tmp_path / f"Data/0001_001_S6/{word}_SRGB_010.PNG", 0, kind)
    assert indices(open_set(tmp_path, "auto"), "degraded") == [0]


@pytest.mark.parametrize("place", ["img_align_celeba/img_align_celeba", "Img/img_align_celeba_png"])
def test_celeba_as_others_keep_it(tmp_path, place):
    kaggle = place.startswith("img")
    name = "list_eval_partition.csv" if kaggle else "Eval/list_eval_partition.txt"
    for index in range(3):
        save(tmp_path / place / f"{index:06}.png", index, "clean")
    lines = [f"{index:06}.jpg{',' if kaggle else ' '}{index}" for index in (2, 0, 1)]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("\n".join(["image_id,partition"] * kaggle + lines))
    assert indices(open_set(tmp_path)) == [0] and indices(open_set(tmp_path, split="test")) == [2]


@pytest.mark.parametrize("inside", ["images1024x1024/{:05}.png", "thumbnails128x128/00000/{:05}.png"])
def test_ffhq_is_split_where_its_authors_did(tmp_path, inside):
    for index, number_ in enumerate((0, 59_999, 60_000, 69_999)):
        save(tmp_path / inside.format(number_), index, "clean")
    for other in ("00001 copy", "a00001"):
        save((tmp_path / inside.format(0)).with_name(f"{other}.png"), 9, "clean")
    assert indices(open_set(tmp_path)) == [0, 1] and indices(open_set(tmp_path, split="test")) == [2, 3]


def test_of_several_sizes_of_ffhq_one_is_chosen(tmp_path):
    for index, size in enumerate(("images1024x1024", "thumbnails128x128")):
        save(tmp_path / size / "00001.png", index, "clean")
    with pytest.raises(ConfigError, match="holds images1024x1024 and thumbnails128x128; choose one with data.domains"):
        open_set(tmp_path)
    assert indices(open_set(tmp_path, domains=("thumbnails128x128",))) == [1]


@pytest.mark.parametrize("inside", ["", "ffhq.lmdb"])
def test_ffhq_in_a_database(tmp_path, inside):
    numbers = {7: 0, 59_999: 1, 60_000: 2}
    entries = [
        (f"{size}-{number_:05}".encode(), encoded(index, kind, "train", 8))
        for size, kind in ((64, "clean"), (256, "mask"))
        for number_, index in numbers.items()
    ]
    folder = tmp_path / "set"
    make_database(folder / inside, [*entries, (b"length", b"6")])
    with pytest.raises(ConfigError, match="holds 256 and 64; choose one with data.domains"):
        open_set(folder)
    assert seen(open_set(folder, domains=("64",))) == [(0, "clean", "train"), (1, "clean", "train")]
    assert seen(open_set(folder, "ffhq", "test", domains=("256",))) == [(2, "mask", "train")]


def test_lsun_exported_to_folders(tmp_path):
    for index in range(3):
        save(tmp_path / f"church_outdoor_train/a/b/{index}.webp", index, "clean")
    save(tmp_path / "church_outdoor_val/9.webp", 9, "clean", "test")
    assert detect(tmp_path) == "lsun"
    assert len(open_set(tmp_path)) == 3 and indices(open_set(tmp_path, split="test", domains=("church_outdoor",))) == [
        9
    ]


def test_sets_of_objects_of_lsun_have_no_split(tmp_path):
    make_database(tmp_path / "cat", [(b"0", encoded(5, "clean", "train", 8))])
    assert indices(open_set(tmp_path, domains=("cat",))) == [5]
    with pytest.raises(ConfigError, match=r"no database of test pictures, \*_val_lmdb"):
        open_set(tmp_path, split="test")


def test_cifar_is_read_plane_by_plane(tmp_path):
    make_tree("cifar-10", tmp_path / "set", pairs=1)
    record = bytearray([3]) + bytes(3072)
    # Row 2, column 5: red 10, green 20, blue 30
    for plane, value in enumerate((10, 20, 30)):
        record[1 + plane * 1024 + 2 * 32 + 5] = value
    (tmp_path / "set/cifar-10-batches-bin/data_batch_1.bin").write_bytes(bytes(3073) + bytes(record))
    part = open_set(tmp_path / "set/cifar-10-batches-bin").columns["clean"][1]
    pixels = (part.read().pixels * 255).round().int()
    assert pixels[:, 2, 5].tolist() == [10, 20, 30] and pixels.sum() == 60 and pixels.shape == (3, 32, 32)


def test_pictures_for_testing_are_no_others(tmp_path):
    for place, split in (("a.jpg", "train"), ("in/b.JPEG", "train"), ("val/c.png", "test"), ("in/test/d.png", "train")):
        save(tmp_path / place, 1, "clean", split)
    assert {of for _, _, of in seen(open_set(tmp_path))} == {"train"} and len(open_set(tmp_path)) == 3
    assert seen(open_set(tmp_path, split="test")) == [(1, "clean", "test")]
    save(tmp_path / "train/e.png", 2, "clean")
    assert indices(open_set(tmp_path)) == [2]


# Parts


@pytest.mark.parametrize("layout", ["lol-v1", "lsun", "cifar-10", "celeba", "shards"])
def test_parts_are_made_when_asked_for_and_go_to_other_processes(tmp_path, layout):
    pictures = pickle.loads(pickle.dumps(open_set(make_tree(layout, tmp_path / "set"))))
    column = pictures.columns["clean"]
    assert column[0] == column[0] and column[0] is not column[0]
    assert told(column[-1].read()) == told(column[len(column) - 1].read())
    assert told(pickle.loads(pickle.dumps(column[1])).read())[0] == indices(pictures)[1]
    with pytest.raises(IndexError):
        column[len(column)]
    assert all(re.search(r"\d", part.name) for part in column)


def data_of(part):
    return part.data()


def readings(folder, link):
    """Whether what forks read of a database that their parent has open, and threads, is what it reads itself."""
    parts = open_set(folder, domains=("bedroom",)).columns["clean"]
    expected = [part.data() for part in parts]
    assert len(set(expected)) == 40
    for how in (multiprocessing.get_context("fork").Pool, ThreadPool):
        with how(2) as pool:
            assert pool.map(data_of, list(parts)) == expected
    assert open_set(link, domains=("bedroom",)).columns["clean"][3].data() == expected[3]


@pytest.mark.skipif(os.name == "nt", reason="there are no forks")
def test_a_database_is_read_by_forks_and_by_threads(tmp_path):
    """One that their parent has open, and by another path; in a process without the suite's threads."""
    folder = make_tree("lsun", tmp_path / "set", pairs=40, test=1)
    (tmp_path / "link").symlink_to(folder)
    program = "import sys, pathlib, test_catalog_odd as t; t.readings(*map(pathlib.Path, sys.argv[1:]))"
    command = [sys.executable, "-c", program, folder, tmp_path / "link"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_large_set_is_listed_in_a_moment(tmp_path):
    for kind in ("clean", "degraded"):
        (tmp_path / kind).mkdir()
        for index in range(2000):
            os.close(os.open(tmp_path / kind / f"{index}.png", os.O_CREAT | os.O_WRONLY))
    pictures = open_set(tmp_path)
    assert len(pictures) == 2000 and isinstance(pictures.columns["clean"][3], FilePart)


# Patterns


def test_patterns_say_what_they_find(tmp_path):
    save(tmp_path / "a/b/c/x1.png", 1, "clean")
    save(tmp_path / "a/x2.PNG", 1, "clean")
    assert [tuple(each) for each in found(Tree(tmp_path), "{top}/**/x{n:[0-9]}")] == [
        (("a", "", "2"), "a/x2.PNG"),
        (("a", "/b/c", "1"), "a/b/c/x1.png"),
    ]
    assert plain("Data/{scene}/{*:(?:[0-9]+_)?}GT_{n:[0-9]+}") == "Data/{scene}/*GT_{n}"


def test_the_rules_of_pairs_have_the_same_fields():
    for row in LAYOUTS.values():
        for finder in row.finders:
            if hasattr(finder, "variants"):
                every = [*finder.rules.values(), *(each for one in finder.variants.values() for each in one.values())]
                assert all(
                    len({tuple(fields_of(each)) for each in rule.values()}) == 1 for one in every for rule in one
                )
    assert fields_of(RAINDROP.rules["train"][0]["clean"]) == ["k"]
    assert fields_of(SID.rules["test"][0]["degraded"]) == ["scene"]
