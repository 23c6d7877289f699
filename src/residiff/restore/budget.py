"""How many steps a picture is restored in where a time is given for it: as many as pay and fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from residiff.curve import Curve, Point
from residiff.errors import ConfigError, check_range

logger = logging.getLogger(__name__)

LONGEST = 1_000_000.0
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "min": 60.0}


@dataclass(frozen=True)
class Choice:
    """So many steps, which take about `seconds`; whether that is within the time given."""

    steps: int
    seconds: float
    fits: bool


class Budget:
    """Seconds for each picture.

    Parameters
    ----------
    seconds : for a picture; `ConfigError` unless above 0 and at most a million
    curve : of the model, measured on this machine or another; None where its file has none
    steps : the model's own number, which no more are taken than without a curve
    here : whether the curve was measured on a machine like this one
    call : measures the seconds that one network call takes on a picture of about so many pixels on this machine, and
        gives them by megapixel; asked once, where the curve does not know them
    """

    def __init__(
        self, seconds: float, curve: Curve | None, steps: int, *, here: bool, call: Callable[[int], float]
    ) -> None:
        check_range("budget", seconds, 1e-3, LONGEST)
        self.seconds, self.curve, self.steps, self.here, self.call = seconds, curve, steps, here, call
        self._points: tuple[Point, ...] = ()
        self._told = 0

    def choose(self, pixels: int) -> Choice:
        """The largest number of steps whose predicted time for a picture of `pixels` fits, of those that pay.

        Where none fits it is the least. A number of steps that does no better than a smaller one does not pay.
        """
        times = [(point.steps, point.seconds_per_megapixel * pixels / 1e6) for point in self.points]
        fitting = [Choice(*each, True) for each in times if each[1] <= self.seconds]
        return fitting[-1] if fitting else Choice(*times[0], False)

    def tell(self, pixels: int) -> int:
        """The number of steps that `choose` gives; it is said where it is another than before."""
        choice = self.choose(pixels)
        if choice.steps != self._told:
            self._told = choice.steps
            taken = f"steps: {choice.steps} for {pixels / 1e6:.2g} megapixels, about {choice.seconds:.2g} s"
            short = "" if choice.fits else ": it takes the least steps there are"
            logger.info("%s, of a budget of %g s%s", taken, self.seconds, short)
        return choice.steps

    @property
    def points(self) -> tuple[Point, ...]:
        """What is chosen from, its times those of this machine."""
        if not self._points:
            self._points = self._measured() if self.curve is None else self._scaled(self.curve)
        return self._points

    def _scaled(self, curve: Curve) -> tuple[Point, ...]:
        first = curve.points[0]
        there = first.seconds_per_megapixel / first.steps
        factor = 1.0 if self.here else self.call(curve.pixels) / there
        return tuple(
            Point(point.steps, point.psnr, factor * point.seconds_per_megapixel) for point in curve.worthwhile()
        )

    def _measured(self) -> tuple[Point, ...]:
        seconds = self.call(PIXELS)
        logger.info("the model file has no measured curve (`residiff models tune` makes one): its own steps at most")
        return tuple(Point(steps, 0.0, steps * seconds) for steps in range(1, self.steps + 1))


def parse_seconds(text: str) -> float:
    """Seconds of "2s", "500ms", "1.5" or "2min"; `ConfigError` where it does not read so."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|)", text.strip().lower())
    if found is None:
        raise ConfigError(f"budget is {text!r}; give a time for each picture, 2s, 500ms or 1min")
    return float(found[1]) * _UNITS[found[2]]


# Of the picture that is timed where no curve says which
PIXELS = 256 * 256
