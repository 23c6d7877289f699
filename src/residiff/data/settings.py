"""What a recipe says of its data."""

from __future__ import annotations

from dataclasses import dataclass, field

from residiff.errors import check_range


@dataclass(frozen=True)
class Degrade:
    """A degradation of the table by name, and ranges (or single numbers) for its parameters."""

    name: str
    parameters: dict[str, tuple[float, float] | float] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSettings:
    """What is trained on: procedural images and a degradation, unless a folder of pairs is given.

    Each procedural picture is `picture` pixels wide; about `reuse` crops of each are used, from the last `window`
    pictures. `crop` is the side of what the network sees.
    """

    degrade: Degrade
    crop: int = 96
    picture: int = 176
    reuse: int = 8
    window: int = 512

    def __post_init__(self) -> None:
        check_range("crop", self.crop, 8, 4096)
        check_range("picture", self.picture, self.crop, 4096)
        check_range("reuse", self.reuse, 1, 10_000)
        check_range("window", self.window, 1, 100_000)
