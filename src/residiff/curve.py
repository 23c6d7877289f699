"""The dial between time and quality: how well a model restores, and how long it takes, by the number of steps.

A curve is measured once (`residiff models tune`) and kept in the model file's card, with the machine that it was
measured on; a file without one, as older ones are, is as good as before.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch

from residiff.errors import ModelFileError

# The key of a card under which a curve is kept
CURVE = "curve"
# PSNR is measured on few pictures: less than this, in dB, is no gain
GAIN = 0.01

Machine = dict[str, str | int]
_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Point:
    """Mean PSNR in dB over the calibration pictures in so many steps, and the seconds that a megapixel takes."""

    steps: int
    psnr: float
    seconds_per_megapixel: float


@dataclass(frozen=True)
class Curve:
    """Points by rising steps, and how they were measured.

    Attributes
    ----------
    points : at least one
    machine : what it was measured on (`machine`)
    pixels : of the picture that was timed
    pairs, of, against : how many pictures PSNR is the mean over, where they are from, and what it is against
    """

    points: tuple[Point, ...]
    machine: Machine
    pixels: int
    pairs: int = 0
    of: str = ""
    against: str = ""

    def worthwhile(self) -> tuple[Point, ...]:
        """The points that are better than all of fewer steps: time is spent for something."""
        kept = self.points[:1]
        for point in self.points[1:]:
            if point.psnr > max(each.psnr for each in kept) + GAIN:
                kept = (*kept, point)
        return kept

    def facts(self) -> dict[str, object]:
        """It as a card has it."""
        rows = [
            {
                "steps": point.steps,
                "psnr": round(point.psnr, 3),
                "seconds_per_megapixel": float(f"{point.seconds_per_megapixel:.4g}"),
            }
            for point in self.points
        ]
        known = {"machine": self.machine, "pixels": self.pixels}
        return {**known, "pairs": self.pairs, "of": self.of, "against": self.against, "points": rows}

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Self | None:
        """The curve that a card holds; None where it holds none.

        Raises
        ------
        ModelFileError
            If what it holds is no curve.
        """
        facts = card.get(CURVE)
        if facts is None:
            return None
        try:
            points = tuple(
                Point(int(row["steps"]), float(row["psnr"]), float(row["seconds_per_megapixel"]))
                for row in facts["points"]
            )
            _check(points, facts["pixels"])
            known = (int(facts["pairs"]), str(facts["of"]), str(facts["against"]))
            return cls(points, dict(facts["machine"]), int(facts["pixels"]), *known)
        except (LookupError, TypeError, ValueError) as error:
            raise ModelFileError(f"the card's curve is damaged: {error}; measure it again by `models tune`") from error


def _check(points: Sequence[Point], pixels: float) -> None:
    rising = all(one.steps < other.steps for one, other in pairwise(points))
    if not points or not rising or points[0].steps < 1 or pixels < 1:
        raise ValueError("its points are not those of rising numbers of steps")
    if not all(0 < point.seconds_per_megapixel < float("inf") for point in points):
        raise ValueError("its times are no times")


def machine(device: torch.device) -> Machine:
    """What decides how fast `device` computes, by which two machines are told apart; no names of users or hosts."""
    facts: Machine = {"device": device.type, "torch": torch.__version__}
    if device.type == "cuda":
        return facts | {"processor": torch.cuda.get_device_name(device)}
    return facts | {"processor": _processor(), "cores": os.cpu_count() or 1, "threads": torch.get_num_threads()}


def _processor() -> str:
    lines = _CPU.read_text("utf-8", "replace").splitlines() if _CPU.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
