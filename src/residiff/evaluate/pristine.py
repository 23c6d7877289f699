"""NIQE's pristine parameters fitted to photographs of one's own, kept in a file: NIQE with nothing to be fetched.

Numbers under such parameters compare with no published ones, nor with those of another fit: the fit's name says so, and
stands in every result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from residiff.data.images import list_images, read
from residiff.errors import ConfigError, ModelFileError
from residiff.files import write_bytes
from residiff.metrics.naturalness import Pristine, fit_pristine, matlab_grey

_KIND = "residiff pristine parameters"


def fit_folder(folder: Path) -> Pristine:
    """Pristine parameters of the pictures in a folder and the folders in it, 8 bits, colours by `matlab_grey`.

    Its name is "own fit" with how many pictures there were and what the parameters hash to.

    Raises
    ------
    ConfigError
        If there are no pictures, one is smaller than a patch of 96 x 96 pixels, or fewer than two patches are sharp.
    ImageError
        If a picture cannot be read.
    """
    paths = list_images(folder, recursive=True)
    fit = fit_pristine(_lumas(paths), f"own fit of {len(paths)}")
    digest = hashlib.sha256(fit.mean.numpy().tobytes() + fit.covariance.numpy().tobytes()).hexdigest()
    return Pristine(fit.mean, fit.covariance, f"own fit of {len(paths)} pictures, {digest[:12]}")


def save_pristine(pristine: Pristine, path: Path) -> None:
    """Write parameters to a .safetensors file; a `ResourceError` where that fails."""
    tensors = {"mean": pristine.mean.contiguous(), "covariance": pristine.covariance.contiguous()}
    write_bytes(path, save(tensors, {"kind": _KIND, "name": pristine.name, "format_version": "1"}))


def load_pristine(path: Path) -> Pristine:
    """Read parameters that `save_pristine` wrote.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or something else, or claims the published parameters' name.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key).double() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path} is no file of pristine parameters: {error}") from error
    name = facts.get("name", "")
    if facts.get("kind") != _KIND or facts.get("format_version") != "1" or tensors.keys() != {"mean", "covariance"}:
        raise ModelFileError(f"{path} is no file of pristine parameters that `save_pristine` writes")
    if not name.startswith("own fit"):
        raise ModelFileError(f"{path} names its parameters {name!r}; a file of one's own is an own fit")
    try:
        return Pristine(tensors["mean"], tensors["covariance"], name)
    except ConfigError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _lumas(paths: list[Path]) -> Iterator[Tensor]:
    for path in paths:
        pixels = (read(path).pixels * 255 + 0.5).floor().to(torch.uint8)
        if min(pixels.shape[1:]) < 96:
            raise ConfigError(f"{path} is {pixels.shape[2]} x {pixels.shape[1]} pixels; a patch of NIQE has 96 x 96")
        yield pixels if pixels.shape[0] == 1 else matlab_grey(pixels)
