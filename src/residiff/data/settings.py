"""What a recipe says of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from residiff.errors import check_range


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
    """A degradation of the table by name, and ranges (or single numbers) for its parameters."""

    name: str
    parameters: dict[str, tuple[float, float] | float] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSettings:
    """What is trained on: procedural images and a degradation, unless a folder of pairs is given.

    Each procedural picture is `picture` pixels wide; about `reuse` crops of each are used, from the last `window`
    pictures. `crop` is the side of what the network sees. With `from_masks` a folder's degraded pictures are its clean
    ones without what is white in its masks.
    """

    degrade: Degrade
    crop: int = 96
    picture: int = 176
    reuse: int = 8
    window: int = 512
    augment: Augment = Augment.TURNS
    pairing: Pairing = Pairing.NAME
    from_masks: bool = False

    def __post_init__(self) -> None:
        check_range("crop", self.crop, 8, 4096)
        check_range("picture", self.picture, self.crop, 4096)
        check_range("reuse", self.reuse, 1, 10_000)
        # Another picture than the clean one takes two
        check_range("window", self.window, 1 if self.pairing is Pairing.NAME else 2, 100_000)
