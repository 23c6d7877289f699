"""Files of numpy's `savez` (.npz) as tensors: plain numbers alone, so that nothing in them can run.

Each member is taken apart here: its header must be, letter for letter, one that numpy writes for numbers, and the bytes
behind it as many as that says. Arrays of objects, which are pickles, have another.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from residiff.errors import ModelFileError

MAX_BYTES = 64_000_000
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[<>|][biuf][1248])', 'fortran_order': (?P<columns>True|False), "
    rb"'shape': \((?P<shape>[\d, ]*)\), \} *\n"
)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of an .npz file by name, of booleans, whole numbers or floats.

    Raises
    ------
    ModelFileError
        If it is missing, damaged, none of `savez`, holds anything but numbers, or more than 64 MB.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{path} has more than {MAX_BYTES:,} bytes; arrays as large are not read")
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise ModelFileError(f"{path} unpacks to more than {MAX_BYTES:,} bytes; arrays as large are not read")
            return {member.filename.removesuffix(".npy"): _array(file.read(member)) for member in members}
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is not a whole file of numpy's savez: {error}") from error


def _array(data: bytes) -> Tensor:
    """A tensor of its own of one .npy file's bytes; `ValueError` if it is anything but numbers."""
    start = len(_MAGIC) + 2
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(data[start:end])
    if not data.startswith(_MAGIC) or header is None:
        raise ValueError("a member is no array of numbers")
    shape = [int(side) for side in re.findall(rb"\d+", header["shape"])]
    kind = np.dtype(header["kind"].decode("ascii"))
    if len(data) - end != math.prod(shape) * kind.itemsize:
        raise ValueError(f"an array of {shape} has {len(data) - end} bytes")
    values = np.frombuffer(data, kind, offset=end).reshape(shape, order="F" if header["columns"] == b"True" else "C")
    return torch.from_numpy(values.astype(kind.newbyteorder("="), order="C"))
