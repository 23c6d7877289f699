"""Files of tensors: their bytes are those of the function that made them whole, without its memory; what is given is
what was checked."""

import io
import json
import os
import sys

import pytest
import torch
from safetensors.torch import save

from residiff import files, models, tensorfile
from residiff.errors import ModelFileError
from residiff.tensorfile import DamagedError, order, read, write

FACTS = {"recipe": 'name = "é"\n"sha256":"x"', "card": '{"sha256":"0"}', "step": "3"}


def packed(tensors, kind, facts):
    """The file as it was first made: by safetensors, whole, its header put in order and then signed."""
    header = {**facts, "format": "residiff", "format_version": "1", "kind": kind, "sha256": "0" * 64}
    data = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, header)
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    table["__metadata__"] = dict(sorted(table["__metadata__"].items()))
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = len(text).to_bytes(8, "little") + text + data[8 + length :]
    return data.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + files.sha256(data).encode())


def written(tensors, kind="thing", facts=FACTS, **options):
    file = io.BytesIO()
    write(file, tensors, kind, facts, **options)
    return file.getvalue()


def drawn(shape, dtype, seed=0):
    source = torch.Generator().manual_seed(seed)
    return (100 * torch.randn(shape, generator=source)).to(dtype)


TYPES = tuple(tensorfile._TYPES.values())
SETS = {
    "nothing": {},
    "one number": {"step": torch.tensor(3.0)},
    "types": {f"{'zyxa'[k % 4]}{k}": drawn((k, 3), dtype, k) for k, dtype in enumerate(TYPES)},
    "names": {name: drawn((2,), torch.float32) for name in ("b.1", "b.10", "b.2", "B", "é", 'a"b', "", "sha256")},
    "layouts": {
        "turned": drawn((4, 5), torch.float32).T,
        "last": drawn((2, 3, 4, 5), torch.float32).to(memory_format=torch.channels_last),
        "part": drawn((9, 9), torch.int64)[2:5, ::3],
        "repeated": drawn((1, 3), torch.bfloat16).expand(4, 3),
        "learnt": drawn((3,), torch.float64).requires_grad_(),
    },
    "sizes": {f"{k}": drawn((k,), (torch.int8, torch.float16, torch.int64)[k % 3], k) for k in range(40)},
}


@pytest.mark.parametrize("name", SETS)
def test_the_bytes_are_those_of_the_file_made_whole(name):
    data = packed(SETS[name], "thing", FACTS)
    assert written(SETS[name]) == data
    found, facts = read(io.BufferedReader(io.BytesIO(data)), "thing")
    assert list(found) == order(SETS[name])
    assert all(facts[key] == value for key, value in FACTS.items())
    for key, value in found.items():
        given = SETS[name][key].detach()
        assert (value.dtype, value.shape) == (given.dtype, given.shape)
        assert torch.equal(value, given)


@pytest.mark.parametrize("name", models.bundled())
def test_files_written_before_are_read_and_written_so_still(name):
    path = models.bundled()[name]
    with path.open("rb") as file:
        weights, facts = read(file, "model")
    assert written(weights, "model", facts) == path.read_bytes()


def test_another_type_is_that_of_tensors_of_it():
    halves = {key: value.half() for key, value in SETS["layouts"].items()}
    assert written(SETS["layouts"], dtype=torch.float16) == packed(halves, "thing", FACTS)


def test_tensors_are_fetched_in_order_and_written_before_the_next(tmp_path):
    seen = []

    def fetch(tensor):
        seen.append((file.tell(), tensor.shape))
        return tensor

    tensors = {f"{k}": torch.ones(k, 1000) for k in (3, 1, 2)}
    with (tmp_path / "file").open("wb") as file:
        write(file, tensors, "thing", FACTS, fetch=fetch)
    places, shapes = zip(*seen, strict=True)
    assert list(shapes) == [tensors[key].shape for key in order(tensors)]
    assert [two - one for one, two in zip(places, places[1:], strict=False)] == [4000, 8000]


def test_what_is_taken_is_kept():
    data = written(SETS["sizes"])
    found, _ = read(io.BufferedReader(io.BytesIO(data)), "thing", lambda name, tensor: (name, tensor.sum().item()))
    assert found == {key: (key, value.sum().item()) for key, value in SETS["sizes"].items()}


# What is given is what was checked


@pytest.fixture
def long_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(written({f"{k}": torch.full((100_000,), float(k)) for k in range(3)}))
    return path


@pytest.mark.parametrize("change", ["turn a bit", "cut", "lengthen"])
def test_a_file_that_changes_as_it_is_read_is_damaged(long_file, change):
    def take(name, tensor):
        with long_file.open("r+b") as other:
            size = other.seek(0, os.SEEK_END)
            if name == "1" and change == "lengthen":
                other.write(b"x")
            elif name == "1" and change == "cut":
                other.truncate(size - 4)
            elif name == "1":
                other.seek(-4, os.SEEK_END)
                other.write(b"\1")
        return tensor

    with long_file.open("rb") as file, pytest.raises(DamagedError, match="SHA-256 does not match"):
        read(file, "thing", take)


def test_a_file_that_is_replaced_as_it_is_read_is_read_to_its_end(long_file):
    def take(_name, tensor):
        files.write_bytes(long_file, b"another")
        return tensor

    with long_file.open("rb") as file:
        found, _ = read(file, "thing", take)
    assert [found[key].unique().item() for key in found] == [0, 1, 2]


def test_the_other_byte_order_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(ModelFileError, match="byte order"):
        written(SETS["types"])


# Memory

LIMITED = """
import resource, sys
from pathlib import Path
import psutil, torch
from residiff.checkpoint import ModelFile, TrainingState, load_model, load_state, save_model, save_state
from residiff.recipe import read

def allow(megabytes):
    most = psutil.Process().memory_info().vms + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

mine, folder = read("tiny"), Path(sys.argv[1])
torch.set_num_threads(1)
lying = {f"{k}": torch.full((8, 2**18), float(k)) for k in range(12)}
for held in (lying, {name: tensor.T for name, tensor in lying.items()}):
    # What must be turned to be written is copied
    allow(24)
    save_model(folder / "model", ModelFile(mine, held))
    save_state(folder / "state", TrainingState(mine, 1, "", held))
allow(96 + 32)
load_state(folder / "state")
load_model(folder / "model")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_a_file_takes_the_memory_of_one_tensor_beside_them(tmp_path, python):
    """Of 96 MiB in 12 tensors; there is room for three of them, each mapped by itself: without holes."""
    # A thread's arena alone would reserve more than there is room for
    glibc = ("env", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=65536")
    done = python(LIMITED, tmp_path, before=glibc)
    assert done.returncode == 0, done.stderr
