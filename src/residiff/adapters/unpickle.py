"""The one place that reads pickles, run as a process of its own: `python -m residiff.adapters.unpickle FILE FOLDER`.

FILE must be of torch.save: an archive (torch 1.6 and later), or the run of pickles that came before, which most
published weights of metrics are. Before anything is unpickled, an archive's table of contents and the instructions of
every pickle are looked through: TorchScript, packed or outsized members and every name but those of `HARMLESS` are
refused. Then torch reads it with `weights_only`, under limits on memory, processor time and file size, and under a hook
that refuses sockets, processes, libraries and files to write.

The tensors go to FOLDER/tensors.safetensors, named by their path in the pickle ("model/init_conv.weight"); the plain
values beside them, or {"refused": reason}, go to stdout as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import pickletools
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

Plain = str | int | float | bool

MAX_MEMBERS = 100_000
MAX_DIRECTORY = 32_000_000
MAX_PICKLE = 64_000_000
MAX_DEPTH = 8
MAX_SHARED = 4
SPARE_MEMORY = 1 << 30

# What a file of before torch 1.6 begins with, a pickled number, and how many pickles come before its storages
EARLY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
EARLY_PICKLES = 5
TAR_MAGIC = slice(257, 262)

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_NUMPY = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
_PATHS = {
    f"{module}.{flavour}Path": getattr(pathlib, f"Pure{flavour}Path")
    for module in ("pathlib", "pathlib._local")
    for flavour in ("Posix", "Windows")
}


class Refused(Exception):
    """The file may not or cannot be read."""


def check_file(file: BinaryIO) -> None:
    """`Refused` unless the file is of torch.save and its pickles name nothing but what is harmless; nothing is run."""
    file.seek(0)
    if file.read(len(EARLY)) == EARLY:
        check_early(file)
    else:
        check_pickle(check_archive(file))


def check_early(file: BinaryIO) -> None:
    """`Refused` unless a file of before torch 1.6 begins with five harmless pickles within the first 64 MB."""
    file.seek(0)
    start = file.read(MAX_PICKLE)
    if start[TAR_MAGIC] == b"ustar":
        raise Refused("it is a tar file as well, which torch.save never writes")
    pickles = io.BytesIO(start)
    for _ in range(EARLY_PICKLES):
        check_pickle(pickles)


def check_archive(file: BinaryIO) -> bytes:
    """The pickle of an archive of torch.save, its table of contents checked; `Refused` if it is anything else."""
    size = file.seek(0, os.SEEK_END)
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, size)
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
            raise Refused("it is no archive of torch.save: it needs one data.pkl of at most 64 MB")
        return archive.read(pickles[0])


def _check_directory(file: BinaryIO, size: int) -> None:
    """Bound the table of contents before zipfile reads it whole."""
    file.seek(max(0, size - 65_557))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        raise Refused("it is a zip file without its end, or cut short")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    far = tail.rfind(b"PK\6\6", 0, end)
    if far >= 0:
        directory = int.from_bytes(tail[far + 40 : far + 48], "little")
    if directory > MAX_DIRECTORY:
        raise Refused(f"its table of contents has {directory:,} bytes; allowed are {MAX_DIRECTORY:,}")


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename.partition("/")[2] for member in members]
    if len(members) > MAX_MEMBERS:
        raise Refused(f"it has {len(members):,} members; allowed are {MAX_MEMBERS:,}")
    if any(name == "constants.pkl" or name.startswith("code/") for name in names):
        raise Refused("it is a TorchScript archive, which holds code; save the state_dict by torch.save instead")
    if any(member.filename.endswith(".npy") for member in members):
        raise Refused("it is an .npz file of numpy; save the state_dict by torch.save instead")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise Refused("its members are compressed, which torch.save never does")
    if sum(member.file_size for member in members) > size:
        raise Refused("its members claim more bytes than the file has")


def check_pickle(data: bytes | BinaryIO) -> None:
    """`Refused`, naming them, if the pickle holds names that are not harmless; nothing is run.

    Of a file, one pickle is read, from where it stands to where that pickle ends.
    """
    named = set()
    for instruction, argument, _ in _instructions(data):
        if instruction.name not in INSTRUCTIONS:
            raise Refused(f"its pickle has the instruction {instruction.name}, which torch.save never writes")
        if instruction.name == "GLOBAL":
            named.add(str(argument).replace(" ", "."))
    if foreign := sorted(named - HARMLESS):
        raise Refused(f"its pickle names {', '.join(foreign[:8])}, which no weights need and which could run code")


def _instructions(data: bytes | BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, object, int | None]]:
    try:
        yield from pickletools.genops(data)
    except ValueError as error:
        raise Refused(f"its pickle is damaged: {error}") from error


def flattened(data: object) -> tuple[dict[str, Tensor], dict[str, Plain]]:
    """The tensors and the plain values of nested tables, by path; lists, and tables by number, are left out."""
    import torch

    tensors: dict[str, Tensor] = {}
    plain: dict[str, Plain] = {}
    for count, (path, value) in enumerate(_walk(data, "", 0)):
        # Tables that hold each other's contents have more paths than the file has values
        if count > MAX_MEMBERS:
            raise Refused(f"it has more than {MAX_MEMBERS:,} values")
        if isinstance(value, torch.Tensor):
            tensors[path] = value.detach()
        elif isinstance(value, (str, int, float)):
            plain[path] = value
    return tensors, plain


def _walk(data: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(data, argparse.Namespace):
        data = vars(data)
    if not isinstance(data, Mapping):
        yield path, data
    elif depth < MAX_DEPTH and all(isinstance(key, str) for key in data):
        for key, value in data.items():
            yield from _walk(value, f"{path}/{key}" if path else key, depth + 1)


def _own(tensors: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Each tensor with memory of its own; `Refused` if together they claim more than the file holds."""
    import torch

    # A step of 0 makes many values of one; yet the plain weights are also in their averager's table, and may be its own
    if sum(value.numel() * value.element_size() for value in tensors.values()) > MAX_SHARED * size:
        raise Refused("its tensors claim more values than the file holds")
    return {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}


def _limit(size: int) -> None:
    """Bound memory, processor time and the size of files written, where the system can."""
    if os.name == "nt":
        return
    import resource

    _lower(resource.RLIMIT_CPU, 60 + size // 10_000_000)
    _lower(resource.RLIMIT_FSIZE, MAX_SHARED * size + 100_000_000)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, in_use + 2 * MAX_SHARED * size + SPARE_MEMORY)


def _lower(kind: int, value: int) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that refuses what no reading of weights does."""
    if event.partition(".")[0] in GUARDED or event in GUARDED_EVENTS:
        raise PermissionError(f"{event} is refused here")
    if event == "open":
        _, mode, flags = arguments
        if set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError("writing is refused here")


def _harmless_classes() -> list[Any]:
    """What `HARMLESS` names beyond torch's own list, as torch wants to be told."""
    import numpy as np

    # numpy's module has no public name for it; every scalar says it itself
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(letter)) for letter in "?bBhHiIlLqQefd"]
    paths = [(kind, name) for name, kind in _PATHS.items()]
    return [argparse.Namespace, np.dtype, *kinds, *((scalar, name) for name in _NUMPY[:2]), *paths]


def _read(file: BinaryIO, target: str, confine: Callable[[int], None]) -> dict[str, Plain]:
    import torch
    from safetensors.torch import save_file

    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with torch.serialization.safe_globals(_harmless_classes()):
        confine(size)
        tensors, plain = flattened(torch.load(file, map_location="cpu", weights_only=True))
    save_file(_own(tensors, size), target)
    return plain


def confined(size: int) -> None:
    """Put this process under limits that suit a file of `size` bytes, and under the hook; there is no way back."""
    _limit(size)
    sys.addaudithook(_guard)


def extract(source: str, folder: str, confine: Callable[[int], None] = confined) -> dict[str, Any]:
    """Write the tensors of `source` into `folder`; gives its plain values, or {"refused": reason}.

    `confine` is called with the file's size just before torch reads it.
    """
    try:
        with open(source, "rb") as file:
            check_file(file)
            return {"plain": _read(file, str(Path(folder) / "tensors.safetensors"), confine)}
    except Refused as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "it needs more memory than a file of its size may"}
    # Whatever the libraries raise on damaged input: this process ends, and the parent says why
    except Exception as error:
        return {"refused": " ".join([f"{type(error).__name__}:", *str(error).splitlines()[:1]])}


def main() -> None:
    """Read the file and print what came of it."""
    source, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(extract(source, folder)))


INSTRUCTIONS = frozenset(
    ["PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "NEWOBJ", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE",
     "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2",
     "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT",
     "BINGET", "LONG_BINGET", "SHORT_BINSTRING"]
)  # fmt: skip
HARMLESS = frozenset(
    [
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
        "torch.Size",
        "torch.device",
        *(f"torch.{name}Storage" for name in _STORAGES),
        *(f"torch.{name}" for name in _TYPES),
        "_codecs.encode",
        "argparse.Namespace",
        *_NUMPY,
        *_PATHS,
    ]
)
GUARDED = frozenset(
    ["socket", "subprocess", "ctypes", "shutil", "ftplib", "smtplib", "urllib", "webbrowser", "winreg", "pty"]
)
GUARDED_EVENTS = frozenset(
    [
        *(f"os.{name}" for name in ("system", "exec", "posix_spawn", "spawn", "fork", "forkpty", "startfile")),
        *(f"os.{name}" for name in ("remove", "rename", "rmdir", "mkdir", "chmod", "chown", "link", "symlink")),
        *(f"os.{name}" for name in ("truncate", "kill", "utime", "setxattr", "putenv")),
    ]
)

if __name__ == "__main__":
    main()
