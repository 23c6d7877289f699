"""Scoring restored pictures against the truth, by the protocol `rgb-8bit-full`.

Pictures are compared at full size, each rounded to 8 bits first; alpha plays no part. PSNR and SSIM are those of
`residiff.metrics`; the mean is that of the pictures' scores. Pictures in folders are paired by name without suffix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from torch import Tensor

from residiff.data.degrade import to_8_bit
from residiff.data.images import images_by_name, read
from residiff.errors import ConfigError
from residiff.metrics import masked_psnr, psnr, ssim

_MOST_NAMED = 5


@dataclass(frozen=True)
class Score:
    """One picture's scores, in dB but for `ssim`; `psnr_masked` is None where no mask was given."""

    name: str
    psnr: float
    ssim: float
    psnr_masked: float | None = None

    def values(self) -> dict[str, float]:
        """The scores by name, `psnr_masked` among them where there was a mask."""
        scores = {"psnr": self.psnr, "ssim": self.ssim}
        return scores if self.psnr_masked is None else scores | {"psnr_masked": self.psnr_masked}


@dataclass(frozen=True)
class Report:
    """The scores of all pictures, sorted by name; there is at least one."""

    images: tuple[Score, ...]
    protocol: str = "rgb-8bit-full"

    @property
    def mean(self) -> Score:
        """The mean of the pictures' scores; infinite where one of them is."""
        masked = [score.psnr_masked for score in self.images if score.psnr_masked is not None]
        return Score(
            "mean",
            fmean(score.psnr for score in self.images),
            fmean(score.ssim for score in self.images),
            fmean(masked) if masked else None,
        )

    def as_json(self) -> dict[str, object]:
        """The report as data for JSON: `protocol`, `mean` and `images`.

        JSON knows no infinity: null stands for an infinite PSNR, that of pictures that are equal in every pixel. A mean
        over such a picture is infinite, so null as well.
        """
        images = [{"name": score.name, **_finite(score)} for score in self.images]
        return {"protocol": self.protocol, "mean": _finite(self.mean), "images": images}

    def rows(self) -> list[dict[str, object]]:
        """The report as rows of text for people, the mean last."""
        return [{"name": score.name, **_rounded(score)} for score in (*self.images, self.mean)]


def evaluate(predicted: Path, truth: Path, mask: Path | None = None) -> Report:
    """Score the pictures of a folder, or one picture, against the true ones.

    Parameters
    ----------
    predicted, truth : two folders whose pictures have the same names, or two files of any name
    mask : a folder or a file alike; PSNR is taken over the pixels that are not black there as well

    Raises
    ------
    ConfigError
        If a name has no partner, two pictures have one name, a size differs, grey meets colour, a picture is smaller
        than SSIM's window, or a mask is black; the message names the pictures.
    ImageError
        If a picture cannot be read.
    """
    sides = {"predicted": predicted, "truth": truth} | ({} if mask is None else {"mask": mask})
    return Report(tuple(_score(name, files) for name, files in _paired(sides)))


def _paired(sides: dict[str, Path]) -> list[tuple[str, dict[str, Path]]]:
    """Each name with its file on each side, sorted by name."""
    absent = [str(path) for path in sides.values() if not path.exists()]
    if absent:
        raise ConfigError(f"there is no {', no '.join(absent)}; give two files or two folders")
    folders = [path.is_dir() for path in sides.values()]
    if not any(folders):
        return [(sides["predicted"].stem, sides)]
    if not all(folders):
        kinds = ", ".join(f"{path} is a {'folder' if path.is_dir() else 'file'}" for path in sides.values())
        raise ConfigError(f"{kinds}; give files alone or folders alone")
    found = {side: images_by_name(folder) for side, folder in sides.items()}
    names = sorted(set().union(*found.values()))
    _check_partners(names, found, sides)
    return [(name, {side: found[side][name] for side in sides}) for name in names]


def _check_partners(names: list[str], found: dict[str, dict[str, Path]], sides: dict[str, Path]) -> None:
    if not names:
        raise ConfigError(f"{sides['predicted']} and {sides['truth']} hold no pictures")
    missing = {side: [name for name in names if name not in files] for side, files in found.items()}
    problems = [f"{sides[side]} lacks {_listed(lacking)}" for side, lacking in missing.items() if lacking]
    if problems:
        raise ConfigError(f"pictures are paired by name, but {'; '.join(problems)}")


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _score(name: str, files: dict[str, Path]) -> Score:
    predicted, truth = (to_8_bit(read(files[side]).pixels) for side in ("predicted", "truth"))
    if predicted.shape != truth.shape:
        sizes = f"{files['predicted']} is {_size(predicted)}, {files['truth']} is {_size(truth)}"
        raise ConfigError(f"{sizes}; make them alike")
    try:
        masked = masked_psnr(predicted, truth, _region(files["mask"], truth)) if "mask" in files else None
        return Score(name, psnr(predicted, truth), ssim(predicted, truth), masked)
    except ConfigError as error:
        raise ConfigError(f"{', '.join(str(path) for path in files.values())}: {error}") from error


def _region(path: Path, truth: Tensor) -> Tensor:
    """The pixels (1, H, W) that are not black in the file."""
    region = to_8_bit(read(path).pixels).amax(0, keepdim=True) > 0
    if region.shape[1:] != truth.shape[1:]:
        raise ConfigError(f"the mask is {_size(region)}, the picture {_size(truth)}; make them equal in size")
    return region


def _size(image: Tensor) -> str:
    channels, height, width = image.shape
    return f"{width} x {height} pixels in {'grey' if channels == 1 else 'colour'}"


def _finite(score: Score) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in score.values().items()}


def _rounded(score: Score) -> dict[str, str]:
    return {key: f"{value:.4f}" if key == "ssim" else f"{value:.2f}" for key, value in score.values().items()}
