"""Every layout of the catalog: its tree is known for what it is, and gives the right pictures, told by colour."""

from pathlib import Path

import pytest
from trees import MAKERS, PATHS, indices, make_tree, save, seen

from residiff.data.catalog.layouts import PairedFiles
from residiff.data.catalog.opening import LAYOUTS, detect, open_set
from residiff.data.settings import DataSettings, Degrade, Pairing, Resize
from residiff.errors import ConfigError

PAIRED = sorted(
    name for name in LAYOUTS if name in {"manifest", "shards"} or isinstance(LAYOUTS[name].finders[0], PairedFiles)
)
MASKED = {"paired", "istd", "istd-plus"}
# What is chosen where it must be
DOMAINS = {"domains": ("night",)}


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
    assert open_set(tmp_path).source == f"folder {tmp_path.name}, 1 pair"
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
