"""Files of before torch 1.6, a run of pickles and then the storages: read whole, and held to what archives are."""

import io
import os
import pickle
import struct
import warnings

import numpy as np
import pytest
import torch

from residiff.adapters import archive, unpickle
from residiff.errors import ModelFileError


class Call:
    """Pickles as a call, by name."""

    def __reduce__(self):
        return os.system, ("true",)


def early(data):
    """What torch.save wrote before 1.6."""
    file = io.BytesIO()
    torch.save(data, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def ancient():
    """As of torch 0.1 under Python 2: byte strings, `_rebuild_tensor`, a Parameter, and weights of a graphics card."""

    def string(text):
        return b"U" + bytes([len(text)]) + text.encode()

    storage = b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string("7") + string("cuda:0") + b"K\x06NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x02K\x03\x86K\x03K\x01\x86tR"
    parameter = b"ctorch.nn.parameter\nParameter\n(" + tensor + b"\x89tR"
    table = b"\x80\x02}(" + string("features.0.weight") + parameter + b"u."
    info = b"\x80\x02}" + string("little_endian") + b"\x88s."
    keys = b"\x80\x02](" + string("7") + b"e."
    values = struct.pack("<q6f", 6, *range(6))
    return unpickle.EARLY + b"\x80\x02M\xe9\x03." + info + table + keys + values


HELD = {
    "net": {
        "a": torch.arange(6.0).view(2, 3).t(),
        "half": torch.ones(2).half(),
        "p": torch.nn.Parameter(torch.ones(3)),
    },
    "step": 3,
}


def test_a_whole_file_goes_through_the_process(tmp_path):
    """The one test of the real process, its limits and its hook."""
    (tmp_path / "a.pth").write_bytes(early(HELD))
    read = archive.read(tmp_path / "a.pth")
    assert read.plain == {"step": 3} and read.tensors.keys() == {"net/a", "net/half", "net/p"}
    assert torch.equal(read.tensors["net/a"], HELD["net"]["a"]) and read.tensors["net/half"].dtype == torch.float16


def test_files_of_the_first_torch_are_read(tmp_path, reader_here):
    (tmp_path / "a.pth").write_bytes(ancient())
    read = archive.read(tmp_path / "a.pth")
    assert torch.equal(read.tensors["features.0.weight"], torch.arange(6.0).view(2, 3))


def test_every_pickle_is_looked_through():
    """A call that stands in any of the five is found before torch sees the file."""
    call, plain = pickle.dumps(Call(), 2), pickle.dumps({}, 2)
    for place in range(1, unpickle.EARLY_PICKLES):
        pickles = [unpickle.EARLY, *(call if index == place else plain for index in range(1, 5))]
        with pytest.raises(unpickle.Refused, match=r"names .*system"):
            unpickle.check_file(io.BytesIO(b"".join(pickles)))
    unpickle.check_file(io.BytesIO(unpickle.EARLY + 4 * plain))
    with pytest.raises(unpickle.Refused, match="damaged"):
        unpickle.check_file(io.BytesIO(unpickle.EARLY + 3 * plain))


def test_a_tar_file_that_begins_like_one_is_refused():
    data = bytearray(unpickle.EARLY + 4 * pickle.dumps({}, 2) + bytes(600))
    data[unpickle.TAR_MAGIC] = b"ustar"
    with pytest.raises(unpickle.Refused, match="tar file as well"):
        unpickle.check_file(io.BytesIO(bytes(data)))


def test_a_claim_of_more_than_the_file_holds_is_refused(tmp_path):
    """Storages are made before they are filled: the process's limit on memory stands against it."""
    (tmp_path / "a.pth").write_bytes(ancient().replace(b"K\x06NtQ", b"\x8a\x06\0\0\0\0\0\x01NtQ"))
    with pytest.raises(ModelFileError, match="a.pth is refused"):
        archive.read(tmp_path / "a.pth")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, reader_here, share):
    data = early({"a": torch.ones(5000)})
    (tmp_path / "a.pth").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match=r"a.pth is (refused|not a file)"):
        archive.read(tmp_path / "a.pth")


def test_damaged_bytes_anywhere_are_a_refusal_or_other_numbers(tmp_path, reader_here):
    whole, source = early(HELD), np.random.default_rng(0)
    for place in source.integers(0, len(whole), 60):
        data = bytearray(whole)
        data[place] ^= int(source.integers(1, 256))
        (tmp_path / "a.pth").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                archive.read(tmp_path / "a.pth")
            except ModelFileError:
                continue
