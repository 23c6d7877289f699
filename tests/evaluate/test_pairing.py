"""Which pictures are compared with which: by name, in folders of any depth and in the layouts of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import picture, save

from residiff.errors import ConfigError
from residiff.evaluate.pairing import degraded_of, pair


def made(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        save(root / name, picture(seed))
    return root


def pairs(paired) -> dict[str, tuple[str, ...]]:
    return {
        item.name: tuple(Path(part.name).name for part in (item.predicted, item.truth, item.mask) if part is not None)
        for item in paired.items
    }


def test_partners_have_one_name_whatever_their_suffixes(tmp_path):
    predicted, truth = made(tmp_path / "p", "b.png", "a.tif"), made(tmp_path / "t", "a.png", "b.jpg")
    assert pairs(pair(predicted, truth)) == {"a": ("a.tif", "a.png"), "b": ("b.png", "b.jpg")}


def test_order_plays_no_part(tmp_path):
    predicted, truth = made(tmp_path / "p", "2.png", "10.png"), made(tmp_path / "t", "10.png", "2.png")
    assert [item.name for item in pair(predicted, truth).items] == ["10", "2"]
    assert all(Path(i.predicted.name).name == Path(i.truth.name).name for i in pair(predicted, truth).items)


def test_sub_folders_are_told_apart(tmp_path):
    names = "one/a.png", "two/a.png"
    predicted, truth = made(tmp_path / "p", *names), made(tmp_path / "t", *names)
    assert [item.name for item in pair(predicted, truth, recursive=True).items] == ["one/a", "two/a"]
    with pytest.raises(ConfigError):
        pair(predicted, truth)


def test_what_is_missing_is_told_and_left_out_if_asked(tmp_path):
    predicted, truth = made(tmp_path / "p", "a.png", "x.png"), made(tmp_path / "t", "a.png", "b.png", "c.png")
    with pytest.raises(ConfigError, match=r"p lacks b, c; .*t lacks x; --partial"):
        pair(predicted, truth)
    found = pair(predicted, truth, partial=True)
    assert list(pairs(found)) == ["a"]
    assert found.missing == {str(predicted): ("b", "c"), str(truth): ("x",)}


def test_nothing_in_common(tmp_path):
    with pytest.raises(ConfigError, match="no picture has a partner"):
        pair(made(tmp_path / "p", "a.png"), made(tmp_path / "t", "b.png"), partial=True)


def test_a_data_set_brings_truth_and_masks(tmp_path):
    root = tmp_path / "ISTD"
    for split, names in (("train", "abc"), ("test", "de")):
        for kind in "ABC":
            made(root / split / f"{split}_{kind}", *(f"{name}.png" for name in names))
    found = pair(made(tmp_path / "p", "d.png", "e.png"), root)
    assert pairs(found) == {"d": ("d.png",) * 3, "e": ("e.png",) * 3}
    assert Path(found.items[0].truth.name).parent.name == "test_C"
    assert Path(found.items[0].mask.name).parent.name == "test_B"
    assert pair(tmp_path / "p", root, layout="istd").items == found.items


def test_results_have_the_names_of_a_sets_degraded_pictures(tmp_path):
    root = tmp_path / "raindrop"
    for part in ("train", "test_a"):
        made(root / part / "data", "0_rain.png", "1_rain.png")
        made(root / part / "gt", "0_clean.png", "1_clean.png")
    found = pair(made(tmp_path / "p", "0_rain.png", "1_rain.png"), root)
    assert pairs(found) == {"0_rain": ("0_rain.png", "0_clean.png"), "1_rain": ("1_rain.png", "1_clean.png")}


def test_a_set_of_ones_own_without_parts_is_meant_as_a_whole(tmp_path):
    made(tmp_path / "set" / "clean", "a.png", "b.png")
    made(tmp_path / "set" / "degraded", "a.png", "b.png")
    assert pairs(pair(made(tmp_path / "p", "a.png", "b.png"), tmp_path / "set")) == {
        "a": ("a.png",) * 2,
        "b": ("b.png",) * 2,
    }
    assert {name: Path(part.name) for name, part in degraded_of(tmp_path / "set").items()} == {
        name: tmp_path / "set" / "degraded" / f"{name}.png" for name in "ab"
    }
    assert degraded_of(tmp_path / "set" / "clean") == {}


@pytest.mark.parametrize("recursive", [False, True])
def test_two_of_one_name(tmp_path, recursive):
    with pytest.raises(ConfigError, match=r"a\.jpg and a\.png have the same name"):
        pair(made(tmp_path / "p", "a.jpg", "a.png"), made(tmp_path / "t", "a.png"), recursive=recursive)


def test_masks_are_partners_too(tmp_path):
    predicted, truth = made(tmp_path / "p", "a.png", "b.png"), made(tmp_path / "t", "a.png", "b.png")
    with pytest.raises(ConfigError, match=r"m lacks b"):
        pair(predicted, truth, made(tmp_path / "m", "a.png"))


def test_an_empty_folder_of_true_pictures(tmp_path):
    (tmp_path / "t").mkdir()
    with pytest.raises(ConfigError, match=r"t lacks a"):
        pair(made(tmp_path / "p", "a.png"), tmp_path / "t")
