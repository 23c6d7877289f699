"""The user's cache folder: what was measured or converted once. All of it may be removed at any time.

It lies in `$XDG_CACHE_HOME/residiff` (`~/.cache/residiff`; on Windows below `%LOCALAPPDATA%`). Each entry begins with
the SHA-256 of the rest, so that a broken one is as good as none; entries are replaced whole, by whoever comes last.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from residiff import files
from residiff.errors import ResourceError

logger = logging.getLogger("residiff")
_HASH = 64
_PACKAGES = ("torch", "residiff", "onnx", "onnxruntime", "openvino", "nncf")


def folder() -> Path:
    """The cache folder of residiff; it need not exist."""
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "")
    return (Path(named) if named else Path.home() / ".cache") / "residiff"


def key(network: nn.Module, *facts: object) -> str:
    """A name for what depends on a network's weights, its kind, the installed versions, the machine and `facts`."""
    found = hashlib.sha256(repr((str(network), _versions(), _machine(), facts)).encode())
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy())
    return found.hexdigest()[:32]


def _versions() -> list[tuple[str, str]]:
    installed = {each.name.lower(): each.version for each in metadata.distributions() if each.name}
    return [(name, installed.get(name, "")) for name in _PACKAGES]


def _machine() -> tuple[object, ...]:
    return platform.machine(), platform.processor(), _processor(), os.cpu_count(), torch.get_num_threads()


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    return next((line for line in lines if line.startswith(("model name", "Processor"))), "")


def remembered(name: str, make: Callable[[], bytes]) -> bytes:
    """The entry called `name`; made, and kept for the next time, where there is none that is whole."""
    path = folder() / name
    found = _whole(path)
    if found is not None:
        return found
    data = make()
    try:
        files.write_bytes(path, files.sha256(data).encode() + data)
    except ResourceError as error:
        logger.info("not remembered for the next time: %s", error)
    return data


def _whole(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data[_HASH:] if data[:_HASH] == files.sha256(data[_HASH:]).encode() else None
