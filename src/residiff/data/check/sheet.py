"""The data sheet of a set: how many pictures of which sizes, what they take in memory, and what there is to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from residiff.data.check.looks import Examined, Look

_SHOWN = 5
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Sheet:
    """Figures of a set.

    `pairs` and `published` are counts by split, `sizes` those of clean pictures by (height, width), the most frequent
    first. `decoded_bytes` is what all pictures take as they are, read; `epoch_bytes` as float32 in three channels.
    `residual_mean` and `residual_energy` are of degraded minus clean in [-1, 1], of all pairs of one size; `covered` is
    the share of the masks that is white. None is where there is nothing to measure.
    """

    pairs: Mapping[str, int]
    published: Mapping[str, int]
    pictures: int
    sizes: Mapping[tuple[int, int], int]
    decoded_bytes: int
    epoch_bytes: int
    residual_mean: float | None
    residual_energy: float | None
    covered: float | None

    def as_json(self) -> dict[str, object]:
        """All of it, for JSON; a size is called "width x height"."""
        return {
            "pairs": dict(self.pairs),
            "published": dict(self.published),
            "pictures": self.pictures,
            "sizes": {_name(size): count for size, count in self.sizes.items()},
            "decoded_bytes": self.decoded_bytes,
            "epoch_bytes": self.epoch_bytes,
            "residual_mean": self.residual_mean,
            "residual_energy": self.residual_energy,
            "covered": self.covered,
        }

    def rows(self) -> list[dict[str, object]]:
        """For people, a figure a row."""
        named = {
            "pairs": ", ".join(f"{split} {self._count(split)}" for split in self.pairs),
            "sizes": self._sizes(),
            "memory": f"{in_words(self.decoded_bytes)} decoded, {in_words(self.epoch_bytes)} as trained on",
        }
        if self.residual_mean is not None and self.residual_energy is not None:
            named["residual"] = f"mean {self.residual_mean:+.4f}, energy {self.residual_energy:.5f}"
        if self.covered is not None:
            named["masks"] = f"{self.covered:.1%} white"
        return [{"figure": name, "value": value} for name, value in named.items()]

    def _count(self, split: str) -> str:
        published = f" of {self.published[split]} published" if split in self.published else ""
        return f"{self.pairs[split]}{published}"

    def _sizes(self) -> str:
        shown = [f"{_name(size)} ({count})" for size, count in list(self.sizes.items())[:_SHOWN]]
        rest = list(self.sizes)[_SHOWN:]
        more = [f"{len(rest)} other sizes"] if rest else []
        return ", ".join([*shown, *more])


def sheet_of(examined: Sequence[Examined], pairs: Mapping[str, int], published: Mapping[str, int]) -> Sheet:
    """The figures of what was examined; of pictures that are in several pairs once."""
    looks = {look.name: look for one in examined for look in one.looks.values()}
    clean = {one.looks["clean"].name: one.looks["clean"].size for one in examined if "clean" in one.looks}
    residuals = [one.residual for one in examined if one.residual is not None]
    return Sheet(
        pairs=pairs,
        published=published,
        pictures=len(looks),
        sizes=dict(Counter(clean.values()).most_common()),
        decoded_bytes=sum(_bytes(look, look.channels + look.has_alpha, look.bit_depth // 8) for look in looks.values()),
        epoch_bytes=sum(_bytes(look, 3, _FLOAT_BYTES) for look in looks.values()),
        residual_mean=_mean([one.mean for one in residuals]),
        residual_energy=_mean([one.energy for one in residuals]),
        covered=_mean([one.mask.covered for one in examined if one.mask is not None]),
    )


def batch_bytes(batch: int, crop: tuple[int, int], *, mask: bool) -> int:
    """What the pictures of a batch take in memory: clean and degraded in three channels of float32, and a mask."""
    return batch * crop[0] * crop[1] * (7 if mask else 6) * _FLOAT_BYTES


def in_words(count: int) -> str:
    """A number of bytes for people: "3.2 GiB"."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"


def _bytes(look: Look, channels: int, each: int) -> int:
    return look.size[0] * look.size[1] * channels * each


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _name(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
