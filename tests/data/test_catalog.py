"""Every layout of the catalog: its tree is known for what it is, and gives the right pictures, told by colour."""

import multiprocessing
import os
import pickle
import re
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from trees import MAKERS, PATHS, encoded, make_database, make_tree, number, save, told

from residiff.data.catalog import LAYOUTS, detect, open_set
from residiff.data.layouts import PairedFiles
from residiff.data.parts import FilePart
from residiff.data.settings import DataSettings, Degrade, Pairing, Resize
from residiff.errors import ConfigError

PAIRED = sorted(
    name for name in LAYOUTS if name in {"manifest", "shards"} or isinstance(LAYOUTS[name].finders[0], PairedFiles)
)
MASKED = {"paired", "istd", "istd-plus"}
# What is chosen where it must be
DOMAINS = {"domains": ("night",)}
ALIKE = {"lol-v1", "rain100l"}


def seen(pictures, kind="clean"):
    return [told(part.read()) for part in pictures.columns[kind]]


def indices(pictures, kind="clean"):
    return [index for index, _, _ in seen(pictures, kind)]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """`trees(layout)`: the folder of a set in that layout."""
    base = tmp_path_factory.mktemp("trees")

    def folder(layout):
        return base / layout if (base / layout).exists() else make_tree(layout, base / layout)

    return folder


def test_every_layout_has_a_tree():
    assert set(LAYOUTS) == set(PATHS) | set(MAKERS)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"pictures"}))
def test_each_tree_is_known_for_what_it_is(trees, layout):
    assert detect(trees(layout)) == layout


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_each_tree_gives_its_pictures_and_no_others(trees, layout, split):
    """All of the split and none of another, in kinds that say which they are."""
    domains = DOMAINS.get(layout, ())
    if split not in LAYOUTS[layout].splits:
        with pytest.raises(ConfigError, match="SIDD has no test pictures; hold some out"):
            open_set(trees(layout), layout, split)
        return
    pictures = open_set(trees(layout), layout, split, domains=domains)
    count = {"train": 6, "test": 3}[split]
    assert {of for _, _, of in seen(pictures)} == {split}
    if layout in PAIRED:
        assert set(pictures.columns) == {"clean", "degraded", *({"mask"} if layout in MASKED else ())}
        for kind in pictures.columns:
            assert {(own, of) for _, own, of in seen(pictures, kind)} == {(kind, split)}
        assert sorted(set(indices(pictures))) == list(range(count if layout != "sid-rgb" else (count + 1) // 2))
    else:
        assert set(pictures.columns) == {"clean"}
    expected = {"sid-rgb": count, "cifar-10": 30 if split == "train" else 3, "celeba-hq": 2 * count, "afhq": 3 * count}
    assert len(pictures) == {"lsun": 2 * count, **expected}.get(layout, count)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("layout", PAIRED)
def test_partners_stand_at_the_same_place(trees, layout, split):
    if split in LAYOUTS[layout].splits:
        pictures = open_set(trees(layout), layout, split)
        for kind in pictures.columns:
            assert indices(pictures, kind) == indices(pictures)


def test_partners_are_found_by_name_where_the_names_sort_otherwise(tmp_path):
    """Twelve pictures: norain-1 comes before norain-10, norain-10x2 before norain-1x2."""
    folder = make_tree("rain100l", tmp_path / "rain", pairs=12)
    clean, rainy = (sorted((folder / "rain_data_train_Light" / name).iterdir()) for name in ("norain", "rain"))
    assert [path.stem for path in clean] != [path.stem.removesuffix("x2") for path in rainy]
    pictures = open_set(folder)
    assert indices(pictures) == indices(pictures, "degraded") and sorted(indices(pictures)) == list(range(12))


def test_many_short_exposures_go_with_one_long(trees):
    pictures = open_set(trees("sid-rgb"))
    clean, short = ([part.name for part in pictures.columns[kind]] for kind in ("clean", "degraded"))
    assert len(set(short)) == 6 and len(set(clean)) == 3
    assert [Path(name).name[:5] for name in clean] == [Path(name).name[:5] for name in short]
    assert len({Path(name).name[:5] for name in clean}) == 3


def test_the_scenes_to_choose_settings_by_are_trained_on_as_published(tmp_path):
    make_tree("sid-rgb", tmp_path, pairs=2, test=2)
    for kind in ("short", "long"):
        save(tmp_path / f"{kind}_sid2/20001/20001_00_{kind}.png", 9, {"short": "degraded", "long": "clean"}[kind])
    assert sorted(set(indices(open_set(tmp_path)))) == [0, 9] and set(indices(open_set(tmp_path, split="test"))) == {0}


def test_sid_by_split(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / f"{split}/long/10003/10003_00_10s.png", 4, "clean", split)
        for exposure in ("0.04", "0.1"):
            save(tmp_path / f"{split}/short/10003/10003_00_{exposure}s.png", 4, "degraded", split)
    assert detect(tmp_path) == "sid-rgb"
    assert seen(open_set(tmp_path, split="test"), "degraded") == [(4, "degraded", "test")] * 2


# What sets say of themselves


@pytest.mark.parametrize(
    ("layout", "split", "source"),
    [
        ("lol-v1", "train", "LOL v1, train, 6 pairs"),
        ("istd", "test", "ISTD, test, 3 pairs"),
        ("celeba", "train", "CelebA, train, 6 pictures"),
        ("paired", "train", "folder paired, 6 pairs"),
        ("paired", "test", "folder paired, test, 3 pairs"),
        ("pictures", "train", "folder pictures, 6 pictures"),
    ],
)
def test_the_source_says_what_the_set_is(trees, layout, split, source):
    assert open_set(trees(layout), layout, split).source == source


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_rows_are_whole(layout):
    row = LAYOUTS[layout]
    assert row.title and row.summary.endswith(".") and len(row.naming) > 20
    assert row.own == (not row.counts) and (row.own or set(row.counts) >= {"train"} or layout == "lsun")
    assert set(row.counts) <= set(row.splits) | {f"{name}/{split}" for name in row.domains for split in row.splits}
    for key, value in row.preprocessing.items():
        assert key in vars(DataSettings(Degrade("noise"))) and Resize(value)


@pytest.mark.parametrize("layout", ["celeba-hq", "afhq"])
def test_counts_of_domains_make_those_of_the_split(layout):
    row = LAYOUTS[layout]
    for split in row.splits:
        assert sum(row.counts[f"{name}/{split}"] for name in row.domains) == row.counts[split]


# Variants and domains


def test_raindrop_tests_on_the_other_part_where_it_is_chosen(trees):
    folder = trees("raindrop")
    assert seen(open_set(folder, split="test", domains=("test_b",)))[0] == (0, "clean", "other")
    assert seen(open_set(folder, domains=("test_b",))) == seen(open_set(folder))


def test_gopro_takes_the_blur_of_linear_light_where_it_is_chosen(trees):
    pictures = open_set(trees("gopro"), domains=("blur_gamma",))
    assert {of for _, _, of in seen(pictures, "degraded")} == {"other"} and {of for _, _, of in seen(pictures)} == {
        "train"
    }
    assert indices(pictures, "degraded") == indices(pictures)
    assert pictures.source == "GoPro, train, blur_gamma, 6 pairs"


def test_frames_of_one_name_are_told_apart_by_their_scene(tmp_path):
    for scene, index in (("GOPR1_a", 0), ("GOPR2_b", 1)):
        for frame in range(2):
            for kind, name in (("clean", "sharp"), ("degraded", "blur")):
                save(tmp_path / f"train/{scene}/{name}/00000{frame}.png", 2 * index + frame, kind)
    pictures = open_set(tmp_path)
    assert indices(pictures) == indices(pictures, "degraded") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("layout", "one", "other"), [("afhq", "dog", "cat"), ("lsun", "kitchen", "bedroom"), ("domains", "day", "night")]
)
def test_one_domain_is_generated_and_two_are_translated(trees, layout, one, other):
    folder = trees(layout)
    alone = open_set(folder, layout, domains=(one,))
    assert set(alone.columns) == {"clean"} and {kind for _, kind, _ in seen(alone)} == {"degraded"}
    for pairing in (Pairing.ORDER, Pairing.UNPAIRED):
        both = open_set(folder, layout, "test", domains=(one, other), pairing=pairing)
        assert {kind for _, kind, _ in seen(both)} == {"clean"}
        assert {kind for _, kind, _ in seen(both, "degraded")} == {"degraded"}
        assert f", {one} to {other}, 3 pairs" in both.source
    with pytest.raises(ConfigError, match=f"{one} and {other} are no pairs; set data.pairing to order or unpaired"):
        open_set(folder, layout, domains=(one, other))


def test_domains_may_be_of_different_lengths(tmp_path):
    for index in range(3):
        save(tmp_path / f"train/male/{index}.png", index, "clean")
        save(tmp_path / f"train/cat/{index}.png", index, "degraded")
    (tmp_path / "train/cat/1.png").unlink()
    pictures = open_set(tmp_path, domains=("male", "cat"), pairing=Pairing.ORDER)
    assert len(pictures.columns["clean"]) == 2 and len(pictures.columns["degraded"]) == 3
    assert detect(tmp_path) == "domains"


def test_without_pairing_by_name_pairs_are_two_lists(trees, tmp_path):
    folder = make_tree("paired", tmp_path / "set")
    (folder / "train/clean/10.png").unlink()
    pictures = open_set(folder, pairing=Pairing.UNPAIRED, kinds=("clean", "degraded"))
    assert sorted(indices(pictures)) == [0, 2, 3, 4, 5] and len(pictures.columns["degraded"]) == 6


@pytest.mark.parametrize("word", ["test", "val", "valid"])
def test_what_a_set_calls_validation_is_for_testing(tmp_path, word):
    make_tree("paired", tmp_path).joinpath("test").rename(tmp_path / word)
    assert {of for _, _, of in seen(open_set(tmp_path, split="test"))} == {"test"}


def test_test_comes_before_val(tmp_path):
    make_tree("paired", tmp_path)
    for kind in ("clean", "degraded"):
        save(tmp_path / f"val/{kind}/x.png", 7, kind, "other")
    assert {of for _, _, of in seen(open_set(tmp_path, split="test"))} == {"test"}


def test_a_paired_folder_has_its_kinds_in_it(tmp_path):
    for kind in ("clean", "degraded"):
        save(tmp_path / kind / "a.PNG", 3, kind)
    assert open_set(tmp_path).source == f"folder {tmp_path.name}, 1 pairs"
    with pytest.raises(
        ConfigError, match="no folder 'test/clean'; a paired folder holds test/clean/ and test/degraded/"
    ):
        open_set(tmp_path, split="test")


@pytest.mark.parametrize("kinds", [("clean",), ("clean", "mask"), ("degraded", "clean"), ("clean", "degraded", "mask")])
def test_kinds_that_are_asked_for_are_given_alone(trees, kinds):
    pictures = open_set(trees("istd"), kinds=kinds)
    assert tuple(pictures.columns) == kinds


def test_a_kind_that_is_not_asked_for_may_be_faulty(tmp_path):
    folder = make_tree("istd", tmp_path / "set")
    (folder / "train/train_A/1-1.png").unlink()
    assert len(open_set(folder, kinds=("clean", "mask"))) == 6
    with pytest.raises(ConfigError, match="no file for train/train_A/1-1$"):
        open_set(folder)


# Odd layouts


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
def test_the_parts_of_lol_v2_are_known_alone_and_together(trees, layout, inside, tmp_path):
    assert detect(trees(layout) / inside) == layout
    for each in ("lol-v2-real", "lol-v2-synthetic"):
        make_tree(each, tmp_path, pairs=2, test=1)
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
def test_parts_are_made_when_asked_for_and_go_to_other_processes(trees, layout):
    pictures = pickle.loads(pickle.dumps(open_set(trees(layout))))
    column = pictures.columns["clean"]
    assert column[0] == column[0] and column[0] is not column[0]
    assert told(column[-1].read()) == told(column[len(column) - 1].read())
    assert told(pickle.loads(pickle.dumps(column[1])).read())[0] == indices(pictures)[1]
    with pytest.raises(IndexError):
        column[len(column)]
    assert all(re.search(r"\d", part.name) for part in column)


def data_of(part):
    return part.data()


@pytest.mark.skipif(os.name == "nt", reason="there are no forks")
def test_a_database_is_read_by_forks_and_by_threads(tmp_path):
    """One that their parent has open, and by another path."""
    folder = make_tree("lsun", tmp_path / "set", pairs=40, test=1)
    (tmp_path / "link").symlink_to(folder)
    parts = open_set(folder, domains=("bedroom",)).columns["clean"]
    expected = [part.data() for part in parts]
    assert len(set(expected)) == 40
    for how in (multiprocessing.get_context("fork").Pool, ThreadPool):
        with how(2) as pool:
            assert pool.map(data_of, list(parts)) == expected
    assert open_set(tmp_path / "link", domains=("bedroom",)).columns["clean"][3].data() == expected[3]


def test_a_large_set_is_listed_in_a_moment(tmp_path):
    for kind in ("clean", "degraded"):
        (tmp_path / kind).mkdir()
        for index in range(2000):
            os.close(os.open(tmp_path / kind / f"{index}.png", os.O_CREAT | os.O_WRONLY))
    pictures = open_set(tmp_path)
    assert len(pictures) == 2000 and isinstance(pictures.columns["clean"][3], FilePart)
    assert number(3) == 2
