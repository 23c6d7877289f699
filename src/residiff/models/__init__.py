"""The bundled models, and how a model is found by name, file, folder or hub id."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path

from residiff.errors import ModelFileError, ResourceError

# ./model and ../model are paths
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def bundled() -> dict[str, Path]:
    """The bundled models' files by name, sorted."""
    folder = Path(str(resources.files(__name__)))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(source: str | Path) -> Path:
    """The model file that `source` means: a bundled name, a file, a folder with model.safetensors, or a hub id.

    Raises
    ------
    ModelFileError
        If it is none of these; the nearest bundled name is given.
    ResourceError
        If it is a hub id and huggingface_hub is not installed, or the hub cannot be reached.
    """
    names = bundled()
    if str(source) in names:
        return names[str(source)]
    path = Path(source)
    if path.is_dir():
        return path / "model.safetensors"
    if path.is_file():
        return path
    if path.suffix == "" and HUB_ID.fullmatch(str(source)):
        return _download(str(source))
    near = difflib.get_close_matches(str(source), names, 1)
    others = f"bundled are {', '.join(names) or 'none'}; or give a file, a folder or a hub id"
    raise ModelFileError(f"no model {str(source)!r}; {f'did you mean {near[0]!r}?' if near else others}")


def _download(repository: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ResourceError(
            f"{repository!r} is no file here; to fetch it from the hub: pip install huggingface_hub"
        ) from error
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except (OSError, ValueError) as error:
        raise ResourceError(f"cannot fetch {repository!r} from the hub: {error}") from error
