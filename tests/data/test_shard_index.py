"""The index of shards is used again where it is right, and never leads astray."""

import logging
import os

import numpy as np
import pytest
from archives import KINDS, members_of, pack, png, samples, two_shards
from safetensors.numpy import load, save

from residiff.data.shards import index as shard_index
from residiff.data.shards.reading import open_shards
from residiff.errors import ImageDecodeError, ResourceError

INDEX = "residiff-index-train.safetensors"


@pytest.fixture
def folder(tmp_path):
    return two_shards(tmp_path / "set")


def scanned(monkeypatch):
    """The names of the shards whose headers are read from now on."""
    names, real = [], shard_index.scan
    monkeypatch.setattr(shard_index, "scan", lambda archive: names.append(archive.path.name) or real(archive))
    return names


def test_the_index_is_used_again_and_what_changed_is_read_anew(folder, monkeypatch):
    names = scanned(monkeypatch)
    before = open_shards(folder, "train")
    assert names == ["a.tar", "b.tar"] and (folder / "train" / INDEX).is_file()
    again = open_shards(folder, "train")
    assert names == ["a.tar", "b.tar"]
    for kind in KINDS:
        assert [(part.name, part.data()) for part in again[kind]] == [(part.name, part.data()) for part in before[kind]]
    names.clear()
    pack(folder / "train" / "b.tar", samples(7, 9))
    assert members_of(open_shards(folder, "train")["clean"])[3:] == ["0007.clean.png", "0008.clean.png"]
    assert names == ["b.tar"]
    os.utime(folder / "train" / "a.tar", ns=(1, 1))
    pack(folder / "train" / "0.tar", samples(11, 12))
    found = open_shards(folder, "train")["mask"]
    assert members_of(found)[:2] == ["0011.mask.png", "0000.mask.png"] and names == ["b.tar", "0.tar", "a.tar"]
    (folder / "train" / "a.tar").unlink()
    assert [part.data() for part in open_shards(folder, "train")["mask"]] == [png(35), png(23), png(26)]
    open_shards(folder, "train")
    assert len(names) == 3


def test_every_damage_to_the_index_is_found(folder, monkeypatch, caplog):
    right = [part.data() for part in open_shards(folder, "train")["clean"]]
    names, path = scanned(monkeypatch), folder / "train" / INDEX
    whole, source = path.read_bytes(), np.random.default_rng(0)
    faults = [b"", whole[:100], whole[:-1], b"x" * 50]
    for place in source.integers(0, len(whole), 40):
        faults.append(whole[:place] + bytes([whole[place] ^ 1 << int(source.integers(8))]) + whole[place + 1 :])
    for fault in faults:
        path.write_bytes(fault)
        names.clear()
        caplog.clear()
        assert [part.data() for part in open_shards(folder, "train")["clean"]] == right
        assert names == ["a.tar", "b.tar"] and "it is made anew" in caplog.text and INDEX in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["clean.offset"].__setitem__(0, 10**15),
        lambda t: t["clean.offset"].__setitem__(0, -2),
        lambda t: t["clean.size"].__setitem__(1, 2**40),
        lambda t: t["mask.size"].__setitem__(1, 10**6),
        lambda t: t["clean.length"].__setitem__(slice(2), [-5, 33]),
        lambda t: t.update({"clean.size": t["clean.size"][:-1]}),
        lambda t: t.update({"clean.names": t["clean.names"][:-1]}),
        lambda t: t.pop("mask.length"),
        lambda t: t.update(about=np.frombuffer(b"[" * 5000, np.uint8)),
        lambda t: t.update(about=np.frombuffer(b"[]", np.uint8)),
        lambda t: t.update(about=np.frombuffer(bytes(t["about"]).replace(b'version": 1', b'version": 2'), np.uint8)),
        lambda t: t.update(about=np.frombuffer(bytes(t["about"]).replace(b", 3]", b", -3]", 1), np.uint8)),
    ],
)
def test_an_index_that_someone_made_up_leads_nowhere(folder, change, caplog):
    """Its hash is right, but what it says is not."""
    right = [part.data() for part in open_shards(folder, "train")["clean"]]
    path = folder / "train" / INDEX
    tensors = {name: array.copy() for name, array in load(path.read_bytes()).items() if name != "sha256"}
    change(tensors)
    tensors["sha256"] = np.frombuffer(shard_index._hash(tensors), np.uint8)
    path.write_bytes(save(tensors))
    assert [part.data() for part in open_shards(folder, "train")["clean"]] == right
    assert "it is made anew" in caplog.text


def test_where_nothing_may_be_written_the_index_stays_in_memory(folder, monkeypatch, caplog):
    def refused(path, _data):
        raise ResourceError(f"cannot write {path}: permission denied")

    monkeypatch.setattr(shard_index, "write_bytes", refused)
    caplog.set_level(logging.INFO)
    assert [part.data() for part in open_shards(folder, "train")["clean"]] == [png(3 * number) for number in range(6)]
    assert "permission denied; the index is made anew each time" in caplog.text
    assert not (folder / "train" / INDEX).exists()


def test_a_shard_that_changes_under_an_open_set_is_an_error_not_another_picture(folder):
    parts = open_shards(folder, "train")["clean"]
    other = pack(folder / "other.tar", samples(20, 23))
    os.replace(other, folder / "train" / "b.tar")
    assert parts[0].data() == png(0)
    with pytest.raises(ImageDecodeError, match=r"b\.tar has changed since"):
        parts[3].read()
    (folder / "train" / "b.tar").unlink()
    with pytest.raises(ImageDecodeError, match="0003.clean.png: cannot be read"):
        parts[3].read()
    assert open_shards(folder, "train")["clean"][0].data() == png(0)
    os.truncate(folder / "train" / "a.tar", 600)
    with pytest.raises(ImageDecodeError, match=r"0002.clean.png: the shard has been cut short"):
        parts[2].read()
