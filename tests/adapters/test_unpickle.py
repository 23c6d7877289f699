"""Hostile files: refused with exit code 4 in a process of its own, and nothing that they ask for is done."""

import ast
import inspect
import io
import json
import pickle
import socket
import struct
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from foreign import lightning, one, weights

from residiff.adapters import ImportOptions, archive, import_model, unpickle
from residiff.errors import ModelFileError


class Call:
    """Pickles as a call of `function`, by name."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.fixture
def listener():
    """A port of this machine, and a count of the connections that came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def connections(server):
    count = 0
    try:
        while True:
            server.accept()[0].close()
            count += 1
    except TimeoutError:
        return count


def torch_zip(pickled, members=(), compress=zipfile.ZIP_STORED, root="archive"):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compress) as file:
        for name, content in [("data.pkl", pickled), ("version", b"3\n"), *members]:
            file.writestr(f"{root}/{name}", content)
    return data.getvalue()


def payloads(canary, port):
    """Name -> bytes: what would touch the canary or call the port if the file were trusted."""
    command = f"touch {canary}; python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}))\""
    code = f"open({str(canary)!r}, 'w').close(); import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    import os
    import subprocess
    import urllib.request

    calls = {
        "os.system": Call(os.system, command),
        "subprocess": Call(subprocess.Popen, ["/bin/sh", "-c", command]),
        "eval": Call(eval, f"exec({code!r})"),
        "exec": Call(exec, code),
        "connection": Call(socket.create_connection, ("127.0.0.1", port)),
        "url": Call(urllib.request.urlopen, f"http://127.0.0.1:{port}/"),
        "write": Call(open, str(canary), "w"),
        "torch.load": Call(torch.load, str(canary)),
    }
    for name, call in calls.items():
        yield f"{name}.pt", torch_zip(pickle.dumps({"state_dict": {"init_conv.weight": call}}, 2))
    yield "new-opcodes.ckpt", torch_zip(pickle.dumps(calls["os.system"], 4))
    yield "bare.pth", pickle.dumps(calls["os.system"], 2)
    yield "old-format.pt", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(calls["os.system"], 2)
    inner = [("code/__torch__.py", code.encode()), ("constants.pkl", pickle.dumps(calls["exec"], 2))]
    yield "torchscript.pt", torch_zip(pickle.dumps({}, 2), inner)
    yield "tar.pt", tarred(pickle.dumps(calls["os.system"], 2))
    array = io.BytesIO()
    np.savez(array, a=np.array([calls["os.system"]], dtype=object))
    yield "objects.npz", array.getvalue()
    yield "bomb.pt", torch_zip(pickle.dumps({}, 2), [("data/0", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    yield "overlap.pt", claiming(torch_zip(pickle.dumps({}, 2), [("data/0", bytes(64))]), 10**9)
    yield "directory.pt", torch_zip(b"")[:-10] + struct.pack("<II", 2**31, 0) + b"\0\0"


def tarred(pickled):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(pickled)
            file.addfile(entry, io.BytesIO(pickled))
    return data.getvalue()


def claiming(data, size):
    """A zip file whose directory claims `size` bytes for its last member."""
    place = data.rfind(b"PK\1\2")
    return data[: place + 20] + struct.pack("<II", size, size) + data[place + 28 :]


def test_hostile_files_are_refused_and_do_nothing(tmp_path, listener, cli):
    canary = tmp_path / "canary"
    files = dict(payloads(canary, listener.getsockname()[1]))
    assert len(files) >= 15
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        ended = cli("models", "import", tmp_path / name, "-o", tmp_path / "out.safetensors")
        assert (ended.code, ended.out) == (4, b""), name
        assert name in ended.err and "bug" not in ended.err
    assert connections(listener) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_the_payloads_are_live(tmp_path, listener):
    files = dict(payloads(tmp_path / "canary", listener.getsockname()[1]))
    with zipfile.ZipFile(io.BytesIO(files["exec.pt"])) as file:
        pickle.loads(file.read("archive/data.pkl"))
    assert (tmp_path / "canary").exists() and connections(listener) == 1


REASONS = {
    "os.system.pt": "its pickle names .*system, which no weights need and which could run code",
    "torch.load.pt": "its pickle names torch.serialization.load",
    "new-opcodes.ckpt": "the instruction (FRAME|STACK_GLOBAL|SHORT_BINUNICODE|MEMOIZE)",
    "bare.pth": "bare pickle",
    "old-format.pt": "its pickle names .*system, which no weights need",
    "torchscript.pt": "TorchScript",
    "tar.pt": "tar file",
    "objects.npz": "numpy",
    "bomb.pt": "compressed",
    "overlap.pt": "claim more bytes",
    "directory.pt": "table of contents has",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_told(tmp_path, name, reader_here):
    path = tmp_path / name
    path.write_bytes(dict(payloads(tmp_path / "canary", 9))[name])
    with pytest.raises(ModelFileError, match=REASONS[name]):
        archive.read(path)


@pytest.mark.slow
def test_torch_itself_refuses_what_the_look_through_might_miss(tmp_path, python, listener):
    canary = tmp_path / "canary"
    for name in ("os.system.pt", "exec.pt", "connection.pt"):
        (tmp_path / name).write_bytes(dict(payloads(canary, listener.getsockname()[1]))[name])
    script = """
import json, sys
from residiff.adapters import unpickle
unpickle.check_pickle = lambda data: None
print(json.dumps([unpickle.extract(f"{sys.argv[1]}/{name}", sys.argv[1]) for name in sys.argv[2:]]))
"""
    ended = python(script, tmp_path, "os.system.pt", "exec.pt", "connection.pt")
    answers = json.loads(ended.stdout)
    assert all("UnpicklingError" in answer["refused"] for answer in answers), ended.stderr
    assert not canary.exists() and connections(listener) == 0


def test_the_process_is_confined(tmp_path, python, listener):
    script = """
import ctypes, os, socket, subprocess, sys
import torch
from residiff.adapters import unpickle
unpickle.confined(1000)
folder, port = sys.argv[1], int(sys.argv[2])
attempts = [
    lambda: socket.create_connection(("127.0.0.1", port)),
    lambda: subprocess.run(["true"]),
    lambda: os.system("true"),
    lambda: open(f"{folder}/canary", "w"),
    lambda: os.open(f"{folder}/canary", os.O_CREAT | os.O_WRONLY),
    lambda: os.remove(f"{folder}/kept"),
    lambda: os.rename(f"{folder}/kept", f"{folder}/canary"),
    lambda: ctypes.CDLL(None),
    lambda: os.fork(),
]
refused = 0
for attempt in attempts:
    try:
        attempt()
    except PermissionError:
        refused += 1
try:
    torch.zeros(3 << 30, dtype=torch.uint8)
except RuntimeError:
    print(refused, "of", len(attempts))
"""
    (tmp_path / "kept").touch()
    ended = python(script, tmp_path, listener.getsockname()[1])
    assert ended.stdout == "9 of 9\n", ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and connections(listener) == 0


def test_a_process_that_takes_too_long_or_dies_is_a_refusal(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ModelFileError, match="took more than"):
        archive.run_reader(path, tmp_path, 0.01)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelFileError, match="was stopped .*ended with 1"):
        archive.run_reader(path, tmp_path, 10)


def test_a_whole_file_goes_through_the_process(tmp_path):
    """The one test of the real process on a good file: scalars, namespaces, paths and optimiser states included."""
    import argparse
    import pathlib

    held = lightning(weights(one))
    held["hyper_parameters"] = argparse.Namespace(lr=np.float64(1e-4), root=pathlib.Path("/data"), seed=np.int64(3))
    torch.save(held, tmp_path / "a.ckpt")
    model = import_model(tmp_path / "a.ckpt", ImportOptions(length=12))
    assert model.card["epoch"] == 7 and model.card["global_step"] == 70
    assert all(torch.equal(model.weights[key], value) for key, value in weights(one).items())


def test_plain_values_and_tensors_are_told_by_path(tmp_path, reader_here):
    import argparse

    shared = torch.arange(6.0)
    held = {
        "step": 3,
        "flag": True,
        "name": "x",
        "none": None,
        "args": argparse.Namespace(lr=0.5),
        "net": {"a.b": shared.view(2, 3).t(), "half": shared[:2].half(), "c": torch.nn.Parameter(shared)},
        "opt": {"state": {0: {"m": torch.ones(2)}}},
        "list": [torch.ones(3)],
    }
    torch.save(held, tmp_path / "a.pt")
    read = archive.read(tmp_path / "a.pt")
    assert read.plain == {"step": 3, "flag": True, "name": "x", "args/lr": 0.5}
    assert read.tensors.keys() == {"net/a.b", "net/half", "net/c"}
    assert (
        torch.equal(read.tensors["net/a.b"], shared.view(2, 3).t()) and read.tensors["net/half"].dtype == torch.float16
    )
    assert read.tables().keys() == {"net"}


ODD = {
    "claim more values": torch.zeros(1).expand(1000, 1000, 1000),
    "names torch.ComplexFloatStorage": torch.zeros(2, dtype=torch.complex64),
    "names torch._utils._rebuild_sparse_tensor": torch.eye(3).to_sparse(),
}


@pytest.mark.parametrize("reason", ODD)
def test_odd_tensors_are_refused(tmp_path, reader_here, reason):
    torch.save({"a": ODD[reason]}, tmp_path / "a.pt")
    with pytest.raises(ModelFileError, match=reason):
        archive.read(tmp_path / "a.pt")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, reader_here, share):
    torch.save({"a": torch.ones(5000)}, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="a.pt is refused"):
        archive.read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, b"RIFF1234WEBP", b"GGUF\3\0\0\0", b"\x1f\x8b\x08", b"\x89HDF\r\n\x1a\n"]
)
def test_other_files_are_refused_at_once(tmp_path, data):
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(ModelFileError, match="not a file of weights"):
        archive.read(tmp_path / "a.bin")
    with pytest.raises(ModelFileError, match="No such file"):
        archive.read(tmp_path / "b.bin")


def test_a_broken_safetensors_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 20) + b'{"a": [1, 2, 3]}    ')
    with pytest.raises(ModelFileError, match="not a whole safetensors"):
        archive.read(tmp_path / "a.safetensors")


def test_damaged_bytes_anywhere_are_a_refusal_or_other_numbers(tmp_path, reader_here):
    torch.save({"net": {f"w{i}": torch.ones(3) for i in range(4)}, "step": 3}, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    source = np.random.default_rng(0)
    for place in source.integers(0, len(whole), 60):
        data = bytearray(whole)
        data[place] ^= int(source.integers(1, 256))
        (tmp_path / "a.pt").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                archive.read(tmp_path / "a.pt")
            except ModelFileError:
                continue


def test_the_one_call_of_torch_load_is_restricted():
    tree = ast.parse(inspect.getsource(unpickle))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"]
    ((call),) = calls
    assert {word.arg: ast.unparse(word.value) for word in call.keywords} == {
        "map_location": "'cpu'",
        "weights_only": "True",
    }
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "load"]
    assert len(reads) == 1
