"""The nearest valid name to one that is none, in the words of a message."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from pathlib import Path


def name_hint(name: str, allowed: Iterable[str]) -> str:
    """What is allowed in place of `name`; behind that, where one is near, "did you mean 'onnx'?"."""
    known = [str(each) for each in allowed]
    near = difflib.get_close_matches(name, known, 1)
    listed = f"allowed are {', '.join(known)}"
    return f"{listed}; did you mean {near[0]!r}?" if near else listed


def path_hint(path: Path) -> str:
    """Asks "did you mean photos?" where the folder that `path` would lie in has something of nearly its name."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, 1)
    return f"did you mean {path.with_name(near[0])}?" if near else "look at the path"
