"""The bundled models, and how a model is found by name, file, folder or hub id."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from residiff.errors import ModelFileError
from residiff.models.hub import HUB_ID, MODEL, HubOptions, fetch, is_hub_id
from residiff.nearest import path_hint

__all__ = ["HUB_ID", "HubOptions", "bundled", "find"]


def bundled() -> dict[str, Path]:
    """The bundled models' files by name, sorted."""
    folder = Path(str(resources.files(__name__)))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(source: str | Path, hub: HubOptions = HubOptions()) -> Path:  # noqa: B008  it never changes
    """The model file that `source` means: a bundled name, a file, a folder with model.safetensors, or a hub id.

    A hub id may name a revision, "owner/name@v1"; `hub` says the rest of how the hub is asked.

    Raises
    ------
    ModelFileError
        If it is none of these; the nearest bundled name is given. If the hub has no such model.
    ResourceError
        If it is a hub id and huggingface_hub is not installed, or the hub cannot be reached.
    """
    names = bundled()
    if str(source) in names:
        return names[str(source)]
    path = Path(source)
    if path.is_dir():
        return path / MODEL
    if path.is_file():
        return path
    if is_hub_id(str(source)):
        return fetch(str(source), hub)
    raise ModelFileError(f"no model {str(source)!r}; {_hint(str(source), names)}")


def _hint(source: str, names: Mapping[str, Path]) -> str:
    near = difflib.get_close_matches(source.lower(), names, 1)
    file = path_hint(Path(source))
    if near or "?" not in file:
        others = f"bundled are {', '.join(names) or 'none'}; or give a file, a folder or a hub id"
        return f"did you mean {near[0]!r}?" if near else others
    return file
