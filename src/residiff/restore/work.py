"""One picture on its way: its file read and decoded, the network run, the result encoded and written.

Each of these is a function of its own, so that a folder's pictures can be at different stages at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from residiff.data import images
from residiff.data.images import Format, ImageFile, Picture
from residiff.errors import ConfigError, ImageUnsupportedError
from residiff.files import sha256, write_bytes
from residiff.restore.answers import Answers
from residiff.restore.budget import Budget
from residiff.restore.jobs import Job, alike, shown
from residiff.restore.memory import memory_errors
from residiff.restore.options import Options, Settings, Tile
from residiff.restore.provenance import Made, Provenance, signed, stripped
from residiff.sample import State
from residiff.version import VERSION

_ROWS = 512
# SHA-256 of the picture's file and the mask's
Hashes: TypeAlias = tuple[str, str | None]


class Described(Protocol):
    """What of a model's descriptor is needed here."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def sha256(self) -> str:
        """The hash in its file's header."""

    @property
    def steps(self) -> int:
        """Its own number of steps."""

    @property
    def size_multiple(self) -> int:
        """What height and width are padded to a multiple of."""


class Restores(Protocol):
    """What restores pictures: `Restorer`, or anything that stands for it."""

    @property
    def descriptor(self) -> Described:
        """Which model it is."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def backend(self) -> str:
        """What runs the network."""

    @property
    def budget(self) -> Budget | None:
        """The time that a picture may take."""

    def steps_for(self, pixels: int) -> int:
        """How many steps are made of so many pixels where none are asked for."""

    def check(self, *, steps: int | None, seed: int, masked: bool, keep: bool = False) -> None:
        """Raise `ConfigError` unless the model can run so."""

    def restore(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        tile: Tile = "auto",
        keep: bool = False,
    ) -> Picture:
        """The picture restored."""

    def answers(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        count: int,
        antithetic: bool = False,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        tile: Tile = "auto",
        keep: bool = False,
    ) -> Answers:
        """The picture restored several times."""

    def restore_together(
        self,
        pictures: Sequence[Picture],
        masks: Sequence[Picture] | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        keep: bool = False,
    ) -> list[Picture]:
        """Pictures of one padded size restored in common calls of the network."""

    def states(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        keep: bool = False,
    ) -> Iterator[State]:
        """The states on the way."""

    def picture_of(self, x: Tensor, picture: Picture, strength: float = 1.0) -> Picture:
        """The picture that `x` of a state shows."""


@dataclass(frozen=True)
class Sources:
    """The bytes that a result is made of: the picture's file and the mask's."""

    picture: ImageFile
    mask: ImageFile | None

    @classmethod
    def of(cls, job: Job) -> Sources:
        """Read the files of a job; `ImageDecodeError` if one cannot be."""
        return cls(images.fetch(job.source), None if job.mask is None else images.fetch(job.mask))

    @property
    def hashes(self) -> Hashes:
        """SHA-256 of each."""
        return sha256(self.picture.data), None if self.mask is None else sha256(self.mask.data)


@dataclass(frozen=True)
class Decoded:
    """A picture and its mask, and the hashes of the files they came from."""

    picture: Picture
    mask: Picture | None
    name: str
    hashes: Hashes


@dataclass(frozen=True)
class Result:
    """A restored picture as the bytes of a file, how it came about, and how far it is from the picture it was made of.

    `change` is the root mean square of the difference, in grey levels of 255.
    """

    data: bytes
    provenance: Provenance
    change: float

    @property
    def hint(self) -> str:
        """What may be the cause if the result hardly differs from its input; else empty."""
        return alike("the result", self.change)


def decode(sources: Sources, options: Options, format: Format) -> Decoded:
    """Decode a picture and its mask.

    Raises
    ------
    ImageError
        If one cannot be read, or the picture has alpha that `format` cannot hold.
    ConfigError
        If their sizes differ.
    """
    matte = None if sources.mask is None else images.read(sources.mask, max_pixels=options.max_pixels)
    picture = images.read(sources.picture, max_pixels=options.max_pixels, allow_truncated=options.allow_truncated)
    if picture.alpha is not None and format in (Format.JPEG, Format.BMP):
        raise ImageUnsupportedError(f"{format.value} holds no alpha; use png, webp or tiff")
    if matte is not None and matte.pixels.shape[1:] != picture.pixels.shape[1:]:
        (rows, columns), (height, width) = matte.pixels.shape[1:], picture.pixels.shape[1:]
        raise ConfigError(f"the mask is {columns} x {rows}, the image {width} x {height}; make them equal")
    kept = stripped(picture) if options.strip else picture
    return Decoded(kept, matte, Path(sources.picture.name).name, sources.hashes)


def compute(decoded: Decoded, restorer: Restores, options: Options, target: Path | None = None) -> Picture:
    """Run the network.

    Beside a `target`, `photo.png` say, is written what belongs to it: of several samples their deviation and where to
    doubt, `photo.deviation.png` and `photo.doubt.png`; of each step, if that is wanted, x_t and the estimate of x_0,
    `photo.steps/00-x.png` and `photo.steps/00-x0.png`.
    """
    picture, mask, asked = decoded.picture, decoded.mask, options
    if asked.samples > 1:
        answers = answers_to(decoded, restorer, asked)
        if target is not None:
            images.write(target.with_suffix(".deviation.png"), answers.deviation_picture())
            images.write(target.with_suffix(".doubt.png"), answers.doubt())
        return answers.mean
    if target is None or not asked.save_steps:
        return restorer.restore(
            picture,
            mask,
            steps=asked.steps,
            seed=asked.seed,
            strength=asked.strength,
            tile=asked.tile,
            keep=asked.keep,
        )
    states = restorer.states(picture, mask, steps=asked.steps, seed=asked.seed, keep=asked.keep)
    for number, state in enumerate(states):
        for name, x in (("x", state.x), ("x0", state.estimate.x0)):
            images.write(target.with_suffix(".steps") / f"{number:02d}-{name}.png", restorer.picture_of(x, picture))
    return restorer.picture_of(state.x, picture, asked.strength)


def answers_to(decoded: Decoded, restorer: Restores, options: Options) -> Answers:
    """Restore a picture as often as the options say."""
    return restorer.answers(
        decoded.picture,
        decoded.mask,
        count=options.samples,
        antithetic=options.antithetic,
        steps=options.steps,
        seed=options.seed,
        strength=options.strength,
        tile=options.tile,
        keep=options.keep,
    )


def encode(
    decoded: Decoded, restored: Picture, restorer: Restores, options: Options, format: Format, batch: int = 1
) -> Result:
    """Encode what was computed, with its provenance in the file unless metadata are stripped.

    `batch` is how many pictures were computed at once.
    """
    settings = settings_of(options, restorer, format, decoded.picture.pixels[0].numel())
    provenance = provenance_by(restorer, decoded.name, decoded.hashes, settings, batch, whole=decoded.picture.whole)
    shown_as = restored if options.strip else signed(restored, provenance, format)
    data = images.encode(shown_as, format, quality=options.quality, bit_depth=options.bit_depth)
    apart = Change()
    apart.add(decoded.picture.pixels, restored.pixels)
    return Result(data, provenance, apart.value)


def provenance_by(
    restorer: Restores, source: str, hashes: Hashes, settings: Settings, batch: int = 1, *, whole: bool = True
) -> Provenance:
    """What is said of a result that is made here and now of a file called `source`."""
    model, (source_sha256, mask_sha256) = restorer.descriptor, hashes
    return Provenance(
        residiff=VERSION,
        model=model.name,
        model_sha256=model.sha256,
        source=shown(source),
        source_sha256=source_sha256,
        mask_sha256=mask_sha256,
        settings=settings,
        made=Made(
            torch=str(torch.__version__),
            device=restorer.device.type,
            backend=restorer.backend,
            threads=torch.get_num_threads(),
            batch=batch,
        ),
        whole=whole,
    )


def settings_of(options: Options, restorer: Restores, format: Format, pixels: int = 1) -> Settings:
    """What a result written as `format` depends on; where there is a budget, the steps are those for so many pixels."""
    steps, budget = options.steps, restorer.budget
    taken = restorer.steps_for(pixels * options.samples) if steps is None else steps
    return options.recorded(taken, format, None if budget is None else budget.seconds)


class Change:
    """How far results are from their pictures: root mean square, of rows that come one after another."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def add(self, before: Tensor, after: Tensor) -> None:
        """Take in rows (C, n, W) in [0, 1]."""
        # By NumPy, which does not start threads of its own in each thread that it is called in
        old, new = before.numpy(), after.numpy()
        # Strips keep what comes and goes small
        for top in range(0, before.shape[1], _ROWS):
            difference = new[:, top : top + _ROWS] - old[:, top : top + _ROWS]
            self._total += float(np.vdot(difference, difference))
        self._count += before.numel()

    @property
    def value(self) -> float:
        """In grey levels of 255."""
        return float(255 * (self._total / self._count) ** 0.5)


def restore_file(job: Job, restorer: Restores, options: Options) -> Result:
    """Read, restore and write one picture, and if need be what each step made of it, in a folder beside it."""
    with memory_errors():
        chosen = options.format or images.format_of(job.target)
        decoded = decode(Sources.of(job), options, chosen)
        result = encode(decoded, compute(decoded, restorer, options, job.target), restorer, options, chosen)
        write_bytes(job.target, result.data)
        return result


def restore_bytes(
    source: Path | bytes, mask: Path | None, restorer: Restores, options: Options, format: Format
) -> Result:
    """Read one picture, or the bytes of one, restore it, and encode it as `format`.

    Raises
    ------
    ImageUnsupportedError
        If the picture has alpha that `format` cannot hold; before anything is restored.
    """
    with memory_errors():
        picture = images.fetch(source) if isinstance(source, Path) else ImageFile("image data", source)
        sources = Sources(picture, None if mask is None else images.fetch(mask))
        decoded = decode(sources, options, format)
        return encode(decoded, compute(decoded, restorer, options), restorer, options, format)
