"""What a foreign file holds, as plain tensors and values: safetensors read here, pickles by a process of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from residiff.adapters.unpickle import EARLY, TAR_MAGIC, Plain
from residiff.errors import ModelFileError
from residiff.nearest import path_hint

# What the reader needs of the environment to find Python's and torch's own files
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMPDIR", "LANG")
STARTS = {
    b"\x80": "a bare pickle, not torch.save's; load it where it was made and save it by torch.save",
    b"\x93NUMPY": "an array of numpy; only archives of torch.save and safetensors are read",
    b"GGUF": "a GGUF file; only archives of torch.save and safetensors are read",
    b"\x1f\x8b": "packed by gzip; unpack it first",
    b"\x89HDF": "an HDF5 file; only archives of torch.save and safetensors are read",
}

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Archive:
    """Tensors and plain values by their path in the file ("ema/ema_model.init_conv.weight", "step")."""

    tensors: Weights
    plain: Mapping[str, Plain] = field(default_factory=dict)

    def tables(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of each table of the file by the table's path; "" is the outermost."""
        found: dict[str, dict[str, Tensor]] = {}
        for path, value in self.tensors.items():
            table, _, key = path.rpartition("/")
            found.setdefault(table, {})[key] = value
        return found


def read(path: Path) -> Archive:
    """Read a file of weights, whose kind its first bytes say.

    Raises
    ------
    ModelFileError
        If it is missing, of another kind, damaged, or holds anything but weights and plain values.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; {path_hint(path)}") from error
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    if start.startswith((b"PK", EARLY)):
        return _unpickled(path)
    if start[8:9] == b"{":
        return _safetensors(path)
    raise ModelFileError(f"{path} is not a file of weights that is read here: {_kind(start)}")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(start: bytes) -> str:
    if start[TAR_MAGIC] == b"ustar":
        return "it is a tar file, torch.save's format of before 0.2; load it there and save it again"
    for magic, meaning in STARTS.items():
        if start.startswith(magic):
            return f"it is {meaning}"
    return "give an archive of torch.save (.pt, .pth, .ckpt, .bin), a .safetensors file or a diffusers folder"


def _safetensors(path: Path) -> Archive:
    try:
        return Archive(load_tensors(path.read_bytes()))
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{path} is not a whole safetensors file: {error}") from error


def _unpickled(path: Path) -> Archive:
    """Have a restricted process read the file, and take over what it wrote."""
    with tempfile.TemporaryDirectory(prefix="residiff-import-") as folder:
        answer = run_reader(path.resolve(), Path(folder), 120 + path.stat().st_size / 5e6)
        if "refused" in answer:
            raise ModelFileError(f"{path} is refused: {answer['refused']}")
        return Archive(load_tensors((Path(folder) / "tensors.safetensors").read_bytes()), answer["plain"])


def run_reader(path: Path, folder: Path, seconds: float) -> dict[str, dict[str, Plain]]:
    """What `residiff.adapters.unpickle` says of `path`; it may write into `folder` alone and take `seconds`.

    Raises
    ------
    ModelFileError
        If it did not end well: it was stopped for the time, memory or disk space that it took.
    """
    command = [sys.executable, "-P", "-m", "residiff.adapters.unpickle", str(path), str(folder)]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"{path} is refused: reading it took more than {seconds:.0f} s") from error
    try:
        answer: dict[str, dict[str, Plain]] = json.loads(done.stdout)
    except ValueError as error:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        cause = last[0] if last else f"it ended with {done.returncode}"
        raise ModelFileError(f"{path} is refused: the process that read it was stopped ({cause})") from error
    return answer
