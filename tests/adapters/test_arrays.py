"""Numpy's .npz files: numbers come through whole, and nothing else comes through."""

import io
import zipfile

import numpy as np
import pytest
import torch

from residiff.adapters import arrays
from residiff.adapters.arrays import read_arrays
from residiff.errors import ModelFileError


def member(array):
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numbers_come_through(tmp_path, save):
    held = {
        "rows": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "swapped": np.array([1, 2, 515], dtype=">i4"),
        "flags": np.array([True, False]),
        "one": np.array(7, dtype=np.uint8),
        "none": np.zeros((0, 3)),
    }
    save(tmp_path / "a.npz", **held)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == held.keys()
    for key, value in held.items():
        assert np.array_equal(found[key].numpy(), value) and found[key].shape == value.shape, key
    assert found["rows"].dtype == torch.float64 and found["columns"].is_contiguous()


def test_what_is_no_number_is_refused_and_does_nothing(tmp_path):
    canary = tmp_path / "canary"

    class Call:
        def __reduce__(self):
            return open, (str(canary), "w")

    for array in (np.array([Call()], dtype=object), np.array(["text"]), np.zeros(2, dtype=[("a", "i4"), ("b", "O")])):
        with pytest.raises(ModelFileError, match="no array of numbers"):
            read_arrays(zipped(tmp_path / "a.npz", {"a.npy": member(array)}))
    assert not canary.exists()


def test_a_claim_of_more_than_there_is_is_refused(tmp_path):
    whole = member(np.zeros(4))
    claim = whole.replace(b"(4,), }" + b" " * 11, b"(400000000000,), }")
    assert len(claim) == len(whole) != claim.find(b"400000000000") > 0
    for data in (claim, whole[:-1], whole + b"\0"):
        with pytest.raises(ModelFileError, match="not a whole file of numpy's savez"):
            read_arrays(zipped(tmp_path / "a.npz", {"a.npy": data}))


def test_what_is_no_such_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "text.npz").write_text("no zip file")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(ModelFileError, match=name):
            read_arrays(tmp_path / name)
    with pytest.raises(ModelFileError, match="savez"):
        read_arrays(zipped(tmp_path / "code.npz", {"a.npy": b"import os"}))
    whole = zipped(tmp_path / "cut.npz", {"a.npy": member(np.zeros(400))}).read_bytes()
    for place in range(0, len(whole), 97):
        (tmp_path / "cut.npz").write_bytes(whole[:place])
        with pytest.raises(ModelFileError):
            read_arrays(tmp_path / "cut.npz")
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(100_000))
    for limit, reason in ((10_000, "unpacks to more"), (100, "has more")):
        monkeypatch.setattr(arrays, "MAX_BYTES", limit)
        with pytest.raises(ModelFileError, match=reason):
            read_arrays(tmp_path / "bomb.npz")
