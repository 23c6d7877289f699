"""The steps of a sampling run as pictures to leaf through."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"(\d+)-(x|x0|residual|noise)\.png", re.ASCII)
PLANES = ("x", "x0", "residual", "noise")


@dataclass(frozen=True)
class Frame:
    """One state: x_t, and the estimates of x_0, R and eps that were made of it, each the bytes of a PNG.

    x and x_0 are shown as they are, R and eps from -2 (black) to 2 (white): the middle grey is 0.
    """

    x: bytes
    x0: bytes
    residual: bytes
    noise: bytes


def frames_of(files: Mapping[str, bytes]) -> list[Frame]:
    """The states by the files "00-x.png", "00-x0.png", "00-residual.png", "00-noise.png", "01-x.png", ... in order.

    Other files, and states that are not whole, are left out.
    """
    found: dict[int, dict[str, bytes]] = {}
    for name, data in files.items():
        if parts := _NAME.fullmatch(name):
            found.setdefault(int(parts[1]), {})[parts[2]] = data
    return [Frame(**found[number]) for number in sorted(found) if len(found[number]) == len(PLANES)]


def levels_of(files: Mapping[str, bytes]) -> list[str]:
    """The time of each state, and what x_t is made of there, by the file "levels.json"; none where it is not there."""
    return [
        f"t = {level['t']:g}, xₜ = {level['signal']:.3f} x₀ + {level['residual']:.3f} R + {level['noise']:.3f} ε"
        for level in json.loads(files.get("levels.json", b"[]"))
    ]


def caption(number: int, count: int) -> str:
    """Where state `number`, from 0, of `count` is on its way."""
    if number == 0:
        return f"Start, before step 1 of {count - 1}: the degraded picture and noise"
    if number == count - 1:
        return f"End, after step {number} of {count - 1}: the result, with the last estimates"
    return f"After step {number} of {count - 1}"
