"""Files of tensors: safetensors with facts in the header and a SHA-256 over every byte, gone through one by one.

`sha256` in the header is the hash of the whole file with those 64 digits set to zeros, so that one changed bit anywhere
is found. Tensors are hashed as they are written and as they are read: a file costs no memory beside them but that of
one, and what is given is what was checked, whatever becomes of the file meanwhile. Equal contents are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from typing import Any, BinaryIO

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from residiff.errors import ModelFileError

FORMAT_VERSION = 1
# The state of the largest network that a recipe allows has 12 MB; JSON costs 30 times its size
MAX_HEADER = 16_000_000
CHUNK = 1 << 20
MOST_SIDES = 64
_FACTS = "__metadata__"
_HASH_KEY = b'"sha256":"'
_NO_HASH = b"0" * 64
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

Facts = dict[str, str]
# From a tensor of any kind to what is written of it, contiguous and on the CPU
Fetch = Callable[[Tensor], Tensor]
# From a tensor that was read, and its name, to what is kept of it
Take = Callable[[str, Tensor], Tensor]


class DamagedError(ModelFileError):
    """A file that is not as it was written."""


def on_cpu(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous; itself where it is so already."""
    return tensor.detach().cpu().contiguous()


def whole(_name: str, tensor: Tensor) -> Tensor:
    """What was read, all of it."""
    return tensor


def order(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names in the order in which `write` fetches and writes them, which is safetensors' own."""
    return [name for name in _table(tensors, None) if name != _FACTS]


def write(
    file: BinaryIO,
    tensors: Mapping[str, Tensor],
    kind: str,
    facts: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    fetch: Fetch = on_cpu,
) -> None:
    """Write a file of `tensors`, each fetched, written and let go before the next.

    Parameters
    ----------
    file : open at its beginning
    tensors : of any device and layout
    kind : what they are, "model" say
    facts : what else the header is to say
    dtype : what they become; their own types if None
    fetch : gives what is written of a tensor; needed where they are spread over processes, say
    """
    fixed = {"format": "residiff", "format_version": str(FORMAT_VERSION), "kind": kind, "sha256": _NO_HASH.decode()}
    head, names = _head(tensors, {**facts, **fixed}, dtype)
    digest = hashlib.sha256(head)
    file.write(head)
    for name in names:
        _put(fetch(tensors[name]).to(dtype or tensors[name].dtype), digest.update, file.write)
    file.seek(_hash_start(head))
    file.write(digest.hexdigest().encode())


def _put(tensor: Tensor, *takers: Callable[[memoryview], object]) -> None:
    """Give the bytes of a tensor, which is let go at the end: a variable would hold it while the next is fetched."""
    data = _bytes(tensor)
    for taker in takers:
        taker(data)


def _head(
    tensors: Mapping[str, Tensor], facts: Mapping[str, str], dtype: torch.dtype | None
) -> tuple[bytes, list[str]]:
    """What stands before the tensors, and their names in order."""
    table, end = _table(tensors, dtype), 0
    for name, row in table.items():
        start, shape = end, list(tensors[name].shape)
        end += math.prod(shape) * _TYPES[row["dtype"]].itemsize
        row |= {"shape": shape, "data_offsets": [start, end]}
    text = json.dumps({_FACTS: dict(sorted(facts.items())), **table}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, list(table)


def _table(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, dict[str, Any]]:
    """What safetensors' header says of the tensors, in its order, found with empty ones."""
    data = save_tensors({name: torch.empty(0, dtype=dtype or tensor.dtype) for name, tensor in tensors.items()})
    table: dict[str, dict[str, Any]] = json.loads(data[8:])
    return table


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU, little end first."""
    if sys.byteorder == "big":
        raise ModelFileError("this machine's byte order is not that of safetensors; take one of the other order")
    flat = tensor.reshape(-1).view(torch.uint8)
    return flat.numpy().data


def read(file: BufferedReader, kind: str, take: Take = whole) -> tuple[dict[str, Tensor], Facts]:
    """The tensors and header facts of a file that `write` wrote.

    Parameters
    ----------
    file : open at its beginning
    kind : what it must hold
    take : gives what is kept of each tensor, which is let go otherwise

    Raises
    ------
    ModelFileError
        If the file is not whole, not unchanged, not residiff's, of another kind, or of a later format.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = _read_head(file, size)
    table, facts = _parsed(head)
    start = _hash_start(head)
    digest = hashlib.sha256(head[:start] + _NO_HASH + head[start + 64 :])
    rows, fault = _rows(table, size - len(head))
    tensors = {row.name: take(row.name, _read_tensor(file, row, digest.update)) for row in rows}
    for chunk in iter(partial(file.read, CHUNK), b""):
        digest.update(chunk)
    if digest.hexdigest() != facts.get("sha256"):
        raise DamagedError("the file is damaged: its SHA-256 does not match; fetch or copy it again")
    _check_facts(facts, kind)
    if fault:
        raise ModelFileError(f"the file is not a valid safetensors file: {fault}")
    return tensors, facts


def stated_facts(file: BufferedReader) -> Facts:
    """What the header of a file, open at its beginning, says, not verified; `ModelFileError` if there is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return _parsed(_read_head(file, size))[1]


def _read_head(file: BufferedReader, size: int) -> bytes:
    """Length and header."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > min(MAX_HEADER, size - 8):
        raise DamagedError("the file is not a safetensors file, or it is cut short")
    return head + file.read(length)


def _parsed(head: bytes) -> tuple[dict[str, Any], Facts]:
    """What the header says of tensors, not checked yet, and its facts."""
    try:
        table = json.loads(head[8:])
    except (ValueError, RecursionError) as error:
        raise DamagedError("the file is not a safetensors file: its header is not JSON") from error
    facts = table.pop(_FACTS, {}) if isinstance(table, dict) else None
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise DamagedError("the file is not a safetensors file: its header is not a table")
    if facts.get("format") != "residiff":
        raise ModelFileError("this safetensors file was not written by residiff; give one that was")
    return table, facts


def _hash_start(head: bytes) -> int:
    start = head.find(_HASH_KEY, 8) + len(_HASH_KEY)
    if start < len(_HASH_KEY) or start + len(_NO_HASH) > len(head):
        raise DamagedError("the file has no SHA-256 in its header; it is damaged or was written by another program")
    return start


def _check_facts(facts: Facts, kind: str) -> None:
    version = facts.get("format_version")
    if version != str(FORMAT_VERSION):
        raise ModelFileError(f"the file has format version {version}; this residiff reads {FORMAT_VERSION}: update it")
    if facts.get("kind") != kind:
        raise DamagedError(f"the file holds a {facts.get('kind')}, not a {kind}")


@dataclass(frozen=True)
class _Row:
    """Where a tensor lies, in bytes from the end of the header, and what it is."""

    start: int
    end: int
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def _rows(table: Mapping[str, Any], size: int) -> tuple[list[_Row], str]:
    """The tensors in the order of the file; where they do not fill its `size` bytes to the last, none and the fault."""
    try:
        rows = sorted((_row(name, said) for name, said in table.items()), key=lambda row: (row.start, row.end))
    except (KeyError, TypeError, ValueError) as error:
        return [], f"its table of tensors is wrong, {error}"
    bounds = [0, *(row.end for row in rows)]
    if [row.start for row in rows] != bounds[:-1] or bounds[-1] != size:
        return [], "its tensors overlap, leave holes or go beyond its end"
    return rows, ""


def _row(name: str, said: Any) -> _Row:  # noqa: ANN401
    """`said` of a tensor, as JSON has it; one of the errors that `_rows` knows if it cannot be."""
    (start, end), shape, dtype = said["data_offsets"], tuple(said["shape"]), _TYPES[said["dtype"]]
    # To Python a bool is an int
    are_whole = all(type(number) is int and number >= 0 for number in (start, end, *shape))
    # Beyond these torch runs over
    if not are_whole or len(shape) > MOST_SIDES or math.prod(max(1, side) for side in shape) >= 2**60:
        raise ValueError(f"{name} has no such shape or place")
    if math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(f"{name} has another size than its shape")
    return _Row(start, end, name, dtype, shape)


def _read_tensor(file: BufferedReader, row: _Row, seen: Callable[[memoryview], None]) -> Tensor:
    tensor = torch.empty(row.shape, dtype=row.dtype)
    data = _bytes(tensor)
    # What is short was cut meanwhile, and has another hash
    seen(data[: file.readinto(data)])
    return tensor
