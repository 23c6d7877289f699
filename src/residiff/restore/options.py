"""How pictures are restored and written, as settings that a result can be made by again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from residiff.data import images
from residiff.data.images import BitDepth, Format
from residiff.errors import ConfigError, ImageUnsupportedError, check_range
from residiff.seeds import MAX_SEED

MAX_BATCH, MOST_SAMPLES = 1024, 1000
RANGES = {
    "strength": (0, 1),
    "quality": (1, 100),
    "max-pixels": (1, 10**12),
    "seed": (0, MAX_SEED),
    "batch": (1, MAX_BATCH),
    "samples": (1, MOST_SAMPLES),
}
Tile: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True)
class Options:
    """How pictures are restored and written; None leaves the choice to the model or the input.

    Attributes
    ----------
    steps : of sampling
    seed : of the noise, the same for every picture
    strength : 0 keeps the input, 1 takes the result
    format, quality, bit_depth : of the files
    suffix : put after their names
    max_pixels : larger pictures are refused
    save_steps : whether what each step made is written too
    strip : whether all metadata are left out: EXIF, XMP, resolution, provenance
    allow_truncated : whether what can be decoded of damaged files is restored
    settings : of the recipe, "sampling.eta=1", as the model was loaded with
    batch : how many pictures of one size, at most 512 x 512, are computed at once
    tile : side of tiles, "auto" where memory asks for them, 0 for none
    keep : whether pixels stay as they are where the mask is black
    samples : how many are made of each picture; of more than one the mean is written, and where they disagree
    antithetic : whether every other sample has the negative of the noise before
    """

    steps: int | None = None
    seed: int = 0
    strength: float = 1.0
    format: Format | None = None
    quality: int = 95
    bit_depth: BitDepth | None = None
    suffix: str = ""
    max_pixels: int = images.MAX_PIXELS
    save_steps: bool = False
    strip: bool = False
    allow_truncated: bool = False
    settings: tuple[str, ...] = ()
    batch: int = 1
    tile: Tile = "auto"
    keep: bool = False
    samples: int = 1
    antithetic: bool = False

    @classmethod
    def checked(
        cls,
        steps: int | None,
        seed: int,
        strength: float,
        format: str | None,
        quality: int,
        bit_depth: int | None,
        suffix: str,
        max_pixels: int,
        save_steps: bool = False,
        *,
        strip: bool = False,
        allow_truncated: bool = False,
        settings: Sequence[str] = (),
        batch: int = 1,
        tile: str = "auto",
        keep: bool = False,
        samples: int = 1,
        antithetic: bool = False,
    ) -> Options:
        """Options as a user words them; `ConfigError` names what cannot be."""
        given = (strength, quality, max_pixels, seed, batch, samples)
        for (name, (least, most)), value in zip(RANGES.items(), given, strict=True):
            check_range(name, value, least, most)
        if antithetic and samples == 1:
            raise ConfigError("--antithetic pairs samples, and there is one; give --samples 2 or more, or leave it out")
        if samples > 1 and save_steps:
            raise ConfigError("--save-steps shows how one sample came about, --samples makes several; leave one out")
        if bit_depth not in (None, 8, 16):
            raise ConfigError(f"bit-depth is {bit_depth}; allowed are 8 and 16")
        if any(mark in suffix for mark in "/\\\0"):
            raise ConfigError(f"suffix is {suffix!r}; it is put after a name and holds no slashes")
        depth: BitDepth | None = 16 if bit_depth == 16 else 8 if bit_depth == 8 else None
        kind = _format_called(format)
        if depth == 16 and kind not in (None, Format.PNG, Format.TIFF):
            raise ConfigError(f"{format} holds 8 bits; for 16 take png or tiff")
        head = (steps, seed, strength, kind, quality, depth, suffix, max_pixels, save_steps)
        rest = (strip, allow_truncated, tuple(settings), batch, parse_tile(tile), keep, samples, antithetic)
        return cls(*head, *rest)

    def recorded(self, steps: int, format: Format, budget: float | None = None) -> Settings:
        """What a result depends on beside picture, mask and model.

        `steps` are those that were taken; `budget`, in seconds, is what they were chosen by.
        """
        return Settings(
            steps=steps,
            seed=self.seed,
            strength=self.strength,
            format=format.value,
            quality=self.quality,
            bit_depth=self.bit_depth,
            strip=self.strip,
            allow_truncated=self.allow_truncated,
            settings=self.settings,
            tile=self.tile,
            keep=self.keep,
            samples=self.samples,
            antithetic=self.antithetic,
            budget=budget,
        )


class Settings(BaseModel):
    """What of the options a result depends on, as JSON has it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    steps: int
    seed: int
    strength: float
    format: str
    quality: int
    bit_depth: BitDepth | None = None
    strip: bool = False
    allow_truncated: bool = False
    settings: tuple[str, ...] = ()
    tile: Tile = "auto"
    keep: bool = False
    samples: int = 1
    antithetic: bool = False
    budget: float | None = None

    def same_as(self, other: Settings) -> bool:
        """Whether both give the same: of one budget the time decides on the steps, and either is as good."""
        return self == (other.model_copy(update={"steps": self.steps}) if self.budget is not None else other)

    def options(self) -> Options:
        """Options that give the same again; `ConfigError` if they cannot be."""
        fixed = (self.steps, self.seed, self.strength, self.format, self.quality, self.bit_depth, "", 10**12)
        checked = Options.checked(*fixed, settings=self.settings, tile=str(self.tile), samples=self.samples)
        kept = replace(checked, strip=self.strip, allow_truncated=self.allow_truncated)
        return replace(kept, keep=self.keep, antithetic=self.antithetic)


def _format_called(name: str | None) -> Format | None:
    try:
        return None if name is None else images.format_of(Path(f"picture.{name.lower()}"))
    except ImageUnsupportedError as error:
        allowed = sorted(suffix[1:] for suffix in images.WRITABLE_SUFFIXES)
        raise ConfigError(f"format is {name!r}; allowed are {', '.join(allowed)}") from error


def parse_tile(text: str) -> Tile:
    """What a user words as auto, or a side in pixels, 0 for none; `ConfigError` if it does not read so."""
    if text == "auto":
        return "auto"
    if not text.isdigit():
        raise ConfigError(f"tile is {text!r}; give auto, a side in pixels, or 0 for none")
    check_range("tile", int(text), 0, 65_536)
    return int(text)
