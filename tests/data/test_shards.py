"""Shards give what was put in, wherever and by whomever it is asked for."""

import gzip
import io
import os
import tarfile
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from archives import all_equal, members_of, pack, png, two_shards
from torch.utils.data import DataLoader, Dataset

from residiff.data import images
from residiff.data.shards import reading as shards
from residiff.data.shards.reading import open_shards
from residiff.errors import ConfigError, ImageDecodeError, ImageError


@pytest.fixture
def folder(tmp_path):
    return two_shards(tmp_path / "set")


def test_random_access_is_that_of_a_list(folder):
    parts = open_shards(folder, "train")["degraded"]
    assert len(parts) == 6
    data = [part.data() for part in parts]
    assert data == [png(3 * number + 1) for number in range(6)]
    for place in np.random.default_rng(0).integers(-6, 6, 40):
        assert parts[int(place)].data() == data[place]
    for place in (6, -7, 10**12):
        with pytest.raises(IndexError):
            parts[place]
    assert parts[4].name == str(folder / "train" / "b.tar" / "0004.degraded.png")
    assert torch.equal(parts[4].read().pixels, images.read(data[4]).pixels)


def test_foreign_sets_are_understood(tmp_path):
    members = {
        "d/.hidden.png": b"", "d/0.jpg": png(0), "d/0.json": b"{}", "d/0.cls": b"1", "e/0.PNG": png(1), "e/0.txt": b"x",
        "README": b"x", "d/x.tar.gz": b"",
    }  # fmt: skip
    pack(tmp_path / "0.tar", members, mtime=1.5)
    found = open_shards(tmp_path, "train")
    assert list(found) == ["clean"]
    assert [part.data() for part in found["clean"]] == [png(0), png(1)]


@pytest.mark.parametrize("clean", ["gt", "target", "HQ", "clean"])
@pytest.mark.parametrize("degraded", ["lq", "input", "degraded"])
def test_other_words_for_the_kinds(tmp_path, clean, degraded):
    pack(tmp_path / "0.tar", {f"é1.{degraded}.png": png(1), f"é1.{clean}.webp": png(2)})
    found = open_shards(tmp_path, "train")
    assert {kind: parts[0].data() for kind, parts in found.items()} == {"clean": png(2), "degraded": png(1)}
    assert members_of(found["clean"]) == [f"é1.{clean}.webp"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"1.clean.png": b"x", "2.clean.png": b"x", "2.mask.png": b"x"}, r"no picture mask for .*0\.tar/1\.clean\.png"),
        ({f"{n}.{k}.png": b"x" for n in range(9) for k in ("clean", "lq") if n != 8 and (k, n % 8) != ("lq", 0)}
         | {"8.lq.png": b"x"}, r"clean for .*0\.tar/8\.lq\.png, degraded for .*/0\.clean\.png;"),
        ({f"{n}.png": b"x" for n in range(9)} | {"x.gt.png": b"x", "x.lq.png": b"x"}, "and 4 more"),
        ({"1.lq.png": b"x"}, "no clean pictures"),
        ({"1.txt": b"x"}, "no clean pictures"),
        ({}, "no clean pictures"),
        ({"1.png": b"x", "1.jpg": b"x"}, r"'1\.jpg' is a second clean picture"),
        ({"1.gt.png": b"x", "1.clean.png": b"x"}, "second clean"),
        ({"1.left.png": b"x"}, "'1.left.png' has 'left' between"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_named(tmp_path, members, said):
    pack(tmp_path / "0.tar", members)
    with pytest.raises(ConfigError, match=said):
        open_shards(tmp_path, "train")


def test_where_the_shards_of_a_split_are(tmp_path):
    def first(split):
        return members_of(open_shards(tmp_path, split)["clean"])

    with pytest.raises(ConfigError, match=r"no shards to test on; they are test/\*\.tar"):
        open_shards(tmp_path, "test")
    pack(tmp_path / "b.tar", {"b.png": b"x"})
    pack(tmp_path / "a.tar", {"a.png": b"x"})
    assert first("train") == ["a.png", "b.png"]
    with pytest.raises(ConfigError, match="no shards"):
        open_shards(tmp_path, "test")
    pack(tmp_path / "set-test-0.tar", {"c.png": b"x"})
    assert first("test") == ["c.png"]
    with pytest.raises(ConfigError, match="no shards"):
        open_shards(tmp_path, "train")
    pack(tmp_path / "set-train-0.tar", {"d.png": b"x"})
    assert first("train") == ["d.png"]
    pack(tmp_path / "train" / "0.tar", {"e.png": b"x"})
    assert first("train") == ["e.png"]


@pytest.mark.parametrize("name", ["set-val-0.tar", "validation.tar", "val/0.tar"])
def test_what_is_for_validation_is_for_testing_where_there_is_no_other(tmp_path, name):
    pack(tmp_path / name, {"a.png": b"x"})
    assert members_of(open_shards(tmp_path, "test")["clean"]) == ["a.png"]
    with pytest.raises(ConfigError, match="no shards to train on"):
        open_shards(tmp_path, "train")
    pack(tmp_path / "test" / "0.tar", {"b.png": b"x"})
    assert members_of(open_shards(tmp_path, "test")["clean"]) == ["b.png"]


@pytest.mark.parametrize("name", ["b.tar.gz", "b.tgz", "b.TAR.xz", "b.tar.zst", "b.tar.bz2"])
def test_a_compressed_shard_is_refused_with_the_mend(folder, name):
    (folder / "train" / name).write_bytes(gzip.compress((folder / "train" / "b.tar").read_bytes()))
    with pytest.raises(ImageError, match=rf"{name}: a compressed archive, .*make it a plain \.tar"):
        open_shards(folder, "train")


def test_a_pipe_in_place_of_a_shard_does_not_block(folder):
    os.mkfifo(folder / "train" / "c.tar")
    with pytest.raises(ImageDecodeError, match=r"c\.tar: no such file"):
        open_shards(folder, "train")


def test_a_picture_that_is_none_is_named(tmp_path):
    pack(tmp_path / "0.tar", {"a.png": b"no picture", "b.png": png(0)[:50], "c.png": b""})
    for part in open_shards(tmp_path, "train")["clean"]:
        with pytest.raises(ImageError, match=part.name):
            part.read()


class _Crops(Dataset):
    """Pictures, or the ends of their files: libvips, once used, does not live through a fork."""

    def __init__(self, parts, decode):
        self.parts, self.decode = parts, decode

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        part = self.parts[index]
        return part.read().pixels if self.decode else torch.frombuffer(bytearray(part.data()[-20:]), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("workers", "context", "decode"), [(0, None, True), (1, "fork", False), (2, "fork", False), (1, "spawn", True)]
)
def test_workers_read_the_same_in_the_same_order(folder, workers, context, decode):
    data = _Crops(open_shards(folder, "train")["clean"], decode)
    # The parent's descriptors are open, and both read through them
    here = [data[index] for index in range(len(data))]
    order = [4, 0, 5, 2, 2, 1, 3] * 4
    loader = DataLoader(data, None, sampler=order, num_workers=workers, multiprocessing_context=context)
    assert all_equal(list(loader), [here[index] for index in order])


def misread(parts, expected):
    """Places at which four threads, all reading at once, get something else than expected."""
    wrong = []

    def read(seed):
        places = np.random.default_rng(seed).integers(0, len(parts), 400)
        wrong.extend(place for place in places if parts[place].data() != expected[place])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_threads_share_few_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_opened", shards.functools.lru_cache(maxsize=2)(shards._opened.__wrapped__))
    for number in range(8):
        pack(tmp_path / f"{number}.tar", {f"{number}.png": png(number)})
    parts, before = open_shards(tmp_path, "train")["clean"], len(os.listdir("/proc/self/fd"))
    assert misread(parts, [png(number) for number in range(8)]) == []
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.skipif(os.name == "nt", reason="has no forks, and a lock for threads")
def test_who_reads_does_not_move_others_who_share_the_descriptor(folder):
    parts = open_shards(folder, "train")["mask"]
    for part in parts:
        assert part.data()
        assert os.lseek(shards._opened(part.archive).number, 0, os.SEEK_CUR) == 0


def test_no_sample_costs_an_object(tmp_path):
    count = 20_000
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(count):
            member = tarfile.TarInfo(f"{number:06d}.png")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
            archive.members.clear()
    open_shards(tmp_path, "train")
    tracemalloc.start()
    try:
        found = open_shards(tmp_path, "train")
        held, blocks = tracemalloc.get_traced_memory()[0], len(tracemalloc.take_snapshot().traces)
    finally:
        tracemalloc.stop()
    assert len(found["clean"]) == count and found["clean"][count - 1].data() == b"x"
    assert held < 60 * count
    assert blocks < 1000
