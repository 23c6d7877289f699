"""Published weights that metrics need: what to fetch, whence, and whether it is what it should be.

Nothing is bundled, and nothing is fetched unasked. The hashes of the small files were computed from the packages that
carry them: lpips 0.1.4 and torchmetrics 1.9.0, DISTS-pytorch 0.1, basicsr 1.4.2. Those of the large ones are as others
report them, and begin with the eight digits that the publisher put into the file's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from residiff.adapters import archive
from residiff.adapters.arrays import read_arrays
from residiff.errors import ConfigError, ModelFileError, ResourceError

FOLDER_VARIABLE = "RESIDIFF_WEIGHTS"
_HASHED = re.compile(r"(?P<place>.+)@sha256:(?P<digest>[0-9a-f]{64})")
_HUB_FILE = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)/(?P<file>\w[\w./-]*)")

Source = str | Path | None


@dataclass(frozen=True)
class Published:
    """A published file.

    Attributes
    ----------
    purpose : which metrics need it
    url : whence it is
    file : its name in a folder of weights
    sha256 : of its bytes, hexadecimal
    size : bytes
    licence : under which it is published
    """

    purpose: str
    url: str
    file: str
    sha256: str
    size: int
    licence: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which it is looked for: its own, and that of the address."""
        return tuple(dict.fromkeys((self.file, self.url.rpartition("/")[2])))


@dataclass(frozen=True)
class Weights:
    """Weights as read: by their names in the file; `sha256` is that of the file, checked before it was read."""

    name: str
    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]


def find_weights(name: str, source: Source = None) -> Weights:
    """Weights of the table `PUBLISHED_WEIGHTS`, verified and read.

    Parameters
    ----------
    name : a row of the table
    source : where they are:

        * a folder that holds the file under its name; None means that of the environment variable RESIDIFF_WEIGHTS
        * a file, .pth, .pt, .npz or .safetensors
        * a file on the Hugging Face hub, `owner/repository/file@sha256:...`, fetched if huggingface_hub is installed

        Behind a file, too, `@sha256:...` may stand: the hash that it must have in place of the table's. So a file that
        was converted to safetensors is read.

    Raises
    ------
    ConfigError
        If there is no such row, or the address of a file on the hub goes without its hash.
    ResourceError
        If the file is not there; the message says what to fetch and where to put it.
    ModelFileError
        If its hash is another, or it holds anything but weights.
    """
    row = _row(name)
    text = str(source) if source is not None else os.environ.get(FOLDER_VARIABLE, "")
    hashed = _HASHED.fullmatch(text)
    place, digest = (hashed["place"], hashed["digest"]) if hashed else (text, row.sha256)
    path = _local(row, place) if place else None
    if path is None:
        path = _fetched(name, place, hashed is not None)
    _verify(name, path, digest)
    tensors = read_arrays(path) if path.suffix == ".npz" else archive.read(path).tensors
    return Weights(name, path, digest, tensors)


def how_to_get(name: str, folder: Path | None = None) -> str:
    """What to fetch for a row of the table and where to put it, in one sentence; `ConfigError` if there is no such row.

    None for the folder means that of the environment variable.
    """
    row = _row(name)
    place = folder or Path(os.environ.get(FOLDER_VARIABLE) or f"${FOLDER_VARIABLE}")
    where = f"{place / row.file}" if folder else f"{place / row.file} ({FOLDER_VARIABLE} names the folder)"
    return f"fetch {row.url} ({row.size:,} bytes, SHA-256 {row.sha256}, licence {row.licence}) to {where}"


def _row(name: str) -> Published:
    if name not in PUBLISHED_WEIGHTS:
        raise ConfigError(f"no weights are called {name!r}; known are {', '.join(PUBLISHED_WEIGHTS)}")
    return PUBLISHED_WEIGHTS[name]


def _local(row: Published, place: str) -> Path | None:
    """The file that a path means, if it is there."""
    path = Path(place)
    inside = [path / name for name in row.names] if path.is_dir() else [path]
    return next((candidate for candidate in inside if candidate.is_file()), None)


def _fetched(name: str, place: str, hashed: bool) -> Path:
    """A file on the hub, fetched or from its cache; `ResourceError` if the place means none."""
    path = Path(place)
    hub = None if not place or path.is_absolute() or path.is_dir() else _HUB_FILE.fullmatch(place)
    if hub is None:
        folder = path if place and path.is_dir() else None
        said = f"{place} holds none" if folder else f"{place} is not there" if place else "no folder is named"
        mend = how_to_get(name, folder)
        raise ResourceError(f"{PUBLISHED_WEIGHTS[name].purpose} needs the weights {name!r}, but {said}; {mend}")
    if not hashed:
        raise ConfigError(f"{place} is no file here; of a file on the hub give the hash: {place}@sha256:...")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        mend = "to fetch it from the hub: pip install huggingface_hub"
        raise ResourceError(f"{place} is no file here; {mend}; or {how_to_get(name)}") from error
    try:
        return Path(hf_hub_download(hub["repository"], hub["file"]))
    except (OSError, ValueError) as error:
        raise ResourceError(f"cannot fetch {place} from the hub: {error}") from error


def _verify(name: str, path: Path, digest: str) -> None:
    found = archive.sha256(path)
    if found != digest:
        raise ModelFileError(
            f"{path} is not the file of {name!r}: its SHA-256 is {found}, expected is {digest}; "
            f"{how_to_get(name)}; or give {path}@sha256:{found} if you trust it"
        )


_TORCHVISION = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
PUBLISHED_WEIGHTS: dict[str, Published] = {
    "alexnet": Published(
        purpose="LPIPS (alex)",
        url=f"{_TORCHVISION}alexnet-owt-7be5be79.pth",
        file="alexnet-owt-7be5be79.pth",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        size=244_408_911,
        licence="BSD-3-Clause (torchvision)",
    ),
    "vgg16": Published(
        purpose="LPIPS (vgg) or DISTS",
        url=f"{_TORCHVISION}vgg16-397923af.pth",
        file="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size=553_433_881,
        licence="BSD-3-Clause (torchvision)",
    ),
    "lpips-alex": Published(
        purpose="LPIPS (alex)",
        url=f"{_LPIPS}alex.pth",
        file="lpips-v0.1-alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        size=6_009,
        licence="BSD-2-Clause (PerceptualSimilarity)",
    ),
    "lpips-vgg": Published(
        purpose="LPIPS (vgg)",
        url=f"{_LPIPS}vgg.pth",
        file="lpips-v0.1-vgg.pth",
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        size=7_289,
        licence="BSD-2-Clause (PerceptualSimilarity)",
    ),
    "dists": Published(
        purpose="DISTS",
        url="https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/weights.pt",
        file="dists-weights.pt",
        sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        size=12_288,
        licence="MIT (DISTS)",
    ),
    "inception-fid": Published(
        purpose="FID or KID",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        file="pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size=95_628_359,
        licence="Apache-2.0 (pytorch-fid, from TensorFlow's inception-2015-12-05)",
    ),
    "inception-torchvision": Published(
        purpose="the Inception Score",
        url=f"{_TORCHVISION}inception_v3_google-0cc3c7bd.pth",
        file="inception_v3_google-0cc3c7bd.pth",
        sha256="0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
        size=108_949_747,
        licence="BSD-3-Clause (torchvision)",
    ),
    "niqe": Published(
        purpose="NIQE",
        url="https://raw.githubusercontent.com/XPixelGroup/BasicSR/master/basicsr/metrics/niqe_pris_params.npz",
        file="niqe_pris_params.npz",
        sha256="2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
        size=11_850,
        licence="Apache-2.0 (BasicSR, from the parameters of NIQE's authors)",
    ),
}
