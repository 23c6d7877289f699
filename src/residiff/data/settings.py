"""What a recipe says of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from residiff.errors import ConfigError, check_range


class Pairing(Enum):
    """Which degraded picture goes with a clean one.

    `NAME` is the one of the same name, which shows the same. For translation from one kind of picture to another, they
    need not: `ORDER` lays the two lists side by side, sorted, the shorter one over and over, as RDDM is published to;
    `UNPAIRED` draws the pairs anew each epoch. Procedural pictures go with another's degraded version in both.
    """

    NAME = "name"
    ORDER = "order"
    UNPAIRED = "unpaired"


class Augment(Enum):
    """How crops are turned: `TURNS` is one of the eight turns and mirror images, `MIRROR` left to right or not.

    `ALWAYS_MIRROR` mirrors every crop, as RDDM's published loader does in training.
    """

    TURNS = "turns"
    MIRROR = "mirror"
    ALWAYS_MIRROR = "always-mirror"
    NONE = "none"


@dataclass(frozen=True)
class Degrade:
    """A degradation of the table: its `name`, and ranges (or single numbers) for its `parameters`."""

    name: str
    parameters: dict[str, tuple[float, float] | float] = field(default_factory=dict)


class Resize(Enum):
    """What is done to whole pictures before a crop is cut from them.

    `SQUASH` makes them crop x crop whatever their shape, as RDDM's restoration does; `SHORT_SIDE` makes the shorter
    side the crop's, in proportion; `MULTIPLE_16` the sides multiples of 16 and the longer one at most 1024, as is
    published for RainDrop; `CELEBA` cuts the 128 x 128 pixels around row 121 and column 89 first, as is published for
    CelebA.
    """

    NONE = "none"
    SQUASH = "squash"
    SHORT_SIDE = "short-side"
    MULTIPLE_16 = "multiple-16"
    CELEBA = "celeba"


@dataclass(frozen=True)
class Source:
    """One of several sets that are trained on at once, `weight` times as often as one of weight 1.

    `path` is a folder (below that of `--data`) in the `layout`, or nothing for procedural pictures. With `degrade` its
    clean pictures are degraded on the fly, in place of what stands beside them.
    """

    path: str = ""
    layout: str = "auto"
    weight: float = 1.0
    degrade: Degrade | None = None

    def __post_init__(self) -> None:
        check_range("weight", self.weight, 1e-6, 1e6)


@dataclass(frozen=True)
class DataSettings:
    """What is trained on: procedural images and `degrade`, a degradation, unless a set of pictures is given.

    `pairing` says which degraded picture goes with a clean one, `augment` how crops are turned.
    Each procedural picture is `picture` pixels wide; about `reuse` crops of each are used, from the last `window`
    pictures. `crop` is the size of what the network sees, its side or (height, width). With `from_masks` a folder's
    degraded pictures are its clean ones without what is white in its masks.

    `layout` says how a set lies on the disk, "auto" finds it out; `domains` chooses among its kinds of pictures where
    it has several: one to generate, or two to translate from the first to the second. Whole pictures are first made
    another size as `resize` says, and with `pad` those smaller than the crop are continued in black to the right and
    below, as RDDM does. A `mixture` is of several sets at once.
    """

    degrade: Degrade
    crop: int | tuple[int, int] = 96
    picture: int = 176
    reuse: int = 8
    window: int = 512
    augment: Augment = Augment.TURNS
    pairing: Pairing = Pairing.NAME
    from_masks: bool = False
    layout: str = "auto"
    domains: tuple[str, ...] = ()
    resize: Resize = Resize.NONE
    pad: bool = False
    mixture: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        for side in self.crop_size:
            check_range("crop", side, 8, 4096)
        if self.augment is Augment.TURNS and self.height != self.width:
            allowed = "mirror, always-mirror or none"
            raise ConfigError(f"crop is {self.crop}, which quarter turns would change; set augment = {allowed}")
        check_range("picture", self.picture, max(self.crop_size), 4096)
        check_range("reuse", self.reuse, 1, 10_000)
        # Another picture than the clean one takes two
        check_range("window", self.window, 1 if self.pairing is Pairing.NAME else 2, 100_000)

    @property
    def height(self) -> int:
        """Of a crop."""
        return self.crop_size[0]

    @property
    def width(self) -> int:
        """Of a crop."""
        return self.crop_size[1]

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of a crop."""
        return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
