"""The dial between time and quality: how many steps fit into a time, and what is known of how good they are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from residiff.curve import Curve

# How much a run weighs against all before it
_NEWS = 0.3


class Stepped(Protocol):
    """What of a model the dial needs."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def steps(self) -> int:
        """Its own number of steps."""

    @property
    def max_steps(self) -> int:
        """The most that it takes."""


@dataclass(frozen=True)
class Offer:
    """So many steps; `seconds` that they take, and `psnr` in dB that they have on pictures of theirs, where known."""

    steps: int
    seconds: float | None
    psnr: float | None


@final
class Rates:
    """What a step costs here, by model, learned from runs; shared by all who look at the page."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def learn(self, model: str, steps: int, megapixels: float, seconds: float) -> None:
        """A run of `steps` of a picture took so long."""
        found = seconds / max(1, steps) / max(megapixels, 1e-3)
        with self._lock:
            before = self._seconds.get(model, found)
            self._seconds[model] = before + _NEWS * (found - before)

    def known(self, model: str) -> float | None:
        """Seconds that a step takes for each megapixel; None before the first run."""
        with self._lock:
            return self._seconds.get(model)


def offers(model: Stepped, curve: Curve | None, megapixels: float, rate: float | None) -> list[Offer]:
    """What may be taken, by rising steps: those of a measured curve that pay, else some up to twice the model's own.

    `rate` is the seconds that a step takes for each megapixel here; None where the curve's own are all that is known.
    """
    if curve is not None:
        points = curve.worthwhile()
        return [
            Offer(point.steps, megapixels * (point.seconds_per_megapixel if rate is None else rate * point.steps),
                  point.psnr)
            for point in points
        ]  # fmt: skip
    numbers = sorted({1, *(min(model.max_steps, max(1, round(model.steps * share))) for share in (0.5, 1, 2))})
    return [Offer(steps, None if rate is None else rate * steps * megapixels, None) for steps in numbers]


def within(seconds: float, offered: Sequence[Offer], own: int) -> Offer:
    """The most steps that take no longer than `seconds`, else the fewest; `own` where no time is known."""
    timed = [offer for offer in offered if offer.seconds is not None]
    if not timed:
        return next((offer for offer in offered if offer.steps == own), Offer(own, None, None))
    fitting = [offer for offer in timed if offer.seconds is not None and offer.seconds <= seconds]
    return fitting[-1] if fitting else timed[0]


def told(offer: Offer) -> str:
    """An offer in words."""
    time = "not timed yet" if offer.seconds is None else f"about {offer.seconds:.2g} s"
    quality = "" if offer.psnr is None else f", {offer.psnr:.2f} dB on pictures of its test"
    return f"{offer.steps} {'step' if offer.steps == 1 else 'steps'}: {time}{quality}"
