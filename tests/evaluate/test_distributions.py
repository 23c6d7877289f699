"""Sets scored as wholes: by the network that needs no weights, streamed, whatever the sizes and the order."""

from __future__ import annotations

import pytest
import torch
from pictures import picture, save

from residiff.errors import ConfigError, ResourceError
from residiff.evaluate.distributions import open_sets
from residiff.evaluate.protocol import SetProtocol
from residiff.evaluate.protocols import PROTOCOLS
from residiff.metrics import RandomFeatures, frechet_distance, image_moments


def protocol(name: str) -> SetProtocol:
    found = PROTOCOLS[name]
    assert isinstance(found, SetProtocol)
    return found


def folder(root, seeds, size=(3, 32, 32), level=1.0):
    for seed in seeds:
        save(root / ("sub" if seed % 2 else "") / f"{seed}.png", picture(seed, size) * level)
    return root


def scored(name, predicted, truth=None):
    opened = open_sets(protocol(name), predicted, truth)
    return opened.result(opened.scores(), "ours")


def test_distance_by_hand(tmp_path):
    sides = folder(tmp_path / "p", range(40)), folder(tmp_path / "t", range(100, 150), level=0.8)
    found = scored("frechet-random", *sides)
    pictures = [
        torch.stack([(picture(seed, (3, 32, 32)) * level * 255).round() / 255 for seed in seeds])
        for seeds, level in ((range(40), 1.0), (range(100, 150), 0.8))
    ]
    network = RandomFeatures()
    expected = frechet_distance(*(image_moments([each], network) for each in pictures))
    assert found.mean["fid"] == pytest.approx(expected, rel=1e-4)
    assert (found.inputs["predicted"].count, found.inputs["truth"].count) == (40, 50)


def test_a_set_is_like_itself_and_sizes_may_differ(tmp_path):
    root = folder(folder(tmp_path / "p", range(10)), range(10, 20), (3, 40, 24))
    found = scored("frechet-random", root, root)
    assert found.mean["fid"] == pytest.approx(0, abs=1e-3)
    assert found.inputs["predicted"].sha256 == found.inputs["truth"].sha256


def test_true_pictures_of_a_data_set(tmp_path):
    for split, seeds in (("train", range(0, 12, 2)), ("test", range(12, 20, 2))):
        folder(tmp_path / "AFHQ" / split / "cat", seeds)
        folder(tmp_path / "AFHQ" / split / "dog", seeds)
    found = scored("frechet-random", folder(tmp_path / "p", range(5)), tmp_path / "AFHQ")
    assert found.inputs["truth"].count == 8


def test_faces_are_cut_as_published(tmp_path):
    opened = open_sets(
        protocol("fid-celeba-64"),
        folder(tmp_path / "p", range(3), (3, 64, 64)),
        folder(tmp_path / "t", range(3), (3, 218, 178)),
    )
    assert opened._picture("truth", opened.sides["truth"][0]).shape == (3, 64, 64)
    with pytest.raises(ConfigError, match="compares pictures of 64 x 64"):
        opened._picture("predicted", opened.sides["truth"][0])


def test_what_cannot_be_scored(tmp_path):
    whole = folder(tmp_path / "p", range(4))
    with pytest.raises(ConfigError, match="holds 1 pictures"):
        open_sets(protocol("frechet-random"), folder(tmp_path / "one", [0]), whole)
    with pytest.raises(ConfigError, match="compares with true pictures"):
        open_sets(protocol("fid"), whole, None)
    with pytest.raises(ConfigError, match="scores pictures by themselves"):
        open_sets(protocol("inception-score"), whole, whole)
    with pytest.raises(ConfigError, match="is not a folder"):
        open_sets(protocol("frechet-random"), tmp_path / "nowhere", whole)


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("RESIDIFF_WEIGHTS", raising=False)
    whole = folder(tmp_path / "p", range(4))
    opened = open_sets(protocol("fid"), whole, whole)
    with pytest.raises(ResourceError, match="pt_inception-2015-12-05-6726825d.pth"):
        next(opened.scores())
