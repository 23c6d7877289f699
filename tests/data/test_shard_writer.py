"""What is written as shards is what the set was, whole or not at all."""

import io
import os
import tarfile

import numpy as np
import pytest
from archives import KINDS, all_equal, members_of, pixels, png, two_shards
from PIL import Image

from residiff.data.images import from_array
from residiff.data.parts import FilePart, PictureSet
from residiff.data.shards.reading import open_shards
from residiff.data.shards.writing import write_shards
from residiff.errors import ConfigError, ImageDecodeError, ResourceError


@pytest.fixture
def folder(tmp_path):
    return two_shards(tmp_path / "set")


@pytest.fixture
def files(tmp_path):
    """A paired set in files, of two formats."""
    columns = {}
    for place, kind in enumerate(KINDS):
        paths = [tmp_path / "files" / kind / name for name in ("one.png", "two.JPG", "th.ree.png", "four.png")]
        paths[0].parent.mkdir(parents=True)
        for number, path in enumerate(paths):
            Image.open(io.BytesIO(png(10 * place + number))).save(path)
        columns[kind] = [FilePart(path) for path in paths]
    return PictureSet("files", columns)


@pytest.mark.parametrize("size", [1, 4000, 10**9])
def test_what_is_written_is_read_back(tmp_path, files, size):
    names = list(write_shards(files, tmp_path / "out", "train", size=size))
    assert names == ["one", "two", "th_ree", "four"]
    found = open_shards(tmp_path / "out", "train")
    assert list(found) == list(KINDS)
    for kind, parts in found.items():
        assert members_of(parts) == [f"one.{kind}.png", f"two.{kind}.jpg", f"th_ree.{kind}.png", f"four.{kind}.png"]
        assert [part.data() for part in parts] == [part.path.read_bytes() for part in files.columns[kind]]
        assert all_equal(pixels(parts), pixels(files.columns[kind]))
    count = len(list((tmp_path / "out" / "train").glob("*.tar")))
    assert count == {1: 4, 4000: 2, 10**9: 1}[size]


def test_equal_sets_become_equal_bytes_that_say_nothing_of_who_wrote_them(tmp_path, files):
    for name in ("x", "y"):
        list(write_shards(files, tmp_path / name, "test"))
    first, second = (tmp_path / name / "test" / "000000.tar" for name in ("x", "y"))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, 0, "", "")}


class _Drawn:
    """A part that is no file."""

    name = "here/drawn.x"

    def read(self):
        return from_array(np.random.default_rng(0).integers(0, 2**16, (4, 4, 3), np.uint16))


def test_what_is_no_file_becomes_png_and_equal_names_are_told_apart(tmp_path):
    assert list(write_shards(PictureSet("x", {"clean": [_Drawn()] * 3}), tmp_path, "train")) == [
        "drawn", "drawn-1", "drawn-2",
    ]  # fmt: skip
    parts = open_shards(tmp_path, "train")["clean"]
    assert all_equal(pixels(parts), [_Drawn().read().pixels] * 3)


def test_shards_of_shards_are_the_same(tmp_path, folder):
    found = open_shards(folder, "train")
    list(write_shards(PictureSet("again", found), tmp_path / "again", "train"))
    again = open_shards(tmp_path / "again", "train")
    for kind in KINDS:
        assert members_of(again[kind]) == members_of(found[kind])
        assert [part.data() for part in again[kind]] == [part.data() for part in found[kind]]


def test_shards_are_never_mixed_and_need_something_to_hold(tmp_path, files):
    list(write_shards(files, tmp_path / "out", "train"))
    with pytest.raises(ConfigError, match="holds shards already"):
        list(write_shards(files, tmp_path / "out", "train"))
    for columns in ({"clean": []}, {"clean": files.columns["clean"], "degraded": files.columns["clean"][:2]}):
        with pytest.raises(ConfigError, match="each of all kinds"):
            list(write_shards(PictureSet("x", columns), tmp_path / "new", "train"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fault", ["missing", "stopped"])
def test_a_shard_is_there_whole_or_not_at_all(tmp_path, files, fault):
    names = write_shards(files, tmp_path / "out", "train", size=4000)
    if fault == "missing":
        files.columns["degraded"][3].path.unlink()
        with pytest.raises(ImageDecodeError, match=r"four\.png: there is no such file"):
            list(names)
    else:
        assert [next(names) for _ in range(4)]
        names.close()
    assert os.listdir(tmp_path / "out" / "train") == ["000000.tar"]
    assert len(open_shards(tmp_path / "out", "train")["clean"]) == 2


def test_a_place_that_cannot_be_written_to_is_an_error(tmp_path, files):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot write"):
        list(write_shards(files, tmp_path / "out", "train"))


def test_the_command(tmp_path, cli, files):
    folder = tmp_path / "files"
    for number, kind in enumerate(KINDS):
        (folder / kind / "two.JPG").unlink()
        (folder / kind / "th.ree.png").write_bytes(png(number))
    done = cli("data", "shard", folder, "-o", tmp_path / "out", "--size", "1")
    assert (done.code, done.err) == (0, f"3 samples in {tmp_path / 'out'}\n")
    again = cli("data", "shard", tmp_path / "out", "-o", tmp_path / "again", "--layout", "shards")
    assert (again.code, again.err) == (0, f"3 samples in {tmp_path / 'again'}\n")
    first, second = (tmp_path / name / "train" / "000000.tar" for name in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()
    found = open_shards(tmp_path / "out", "train")
    assert members_of(found["mask"]) == ["four.mask.png", "one.mask.png", "th_ree.mask.png"]
    refused = cli("data", "shard", folder, "-o", tmp_path / "out")
    assert refused.code == 2 and "holds shards already" in refused.err
