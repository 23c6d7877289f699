"""What one job's network calls show while they are made: steps, a preview of x_0, and where to stop."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from residiff.data import images
from residiff.data.images import Format, Picture
from residiff.prediction import Estimate
from residiff.restore import Restorer
from residiff.schedule import Level
from residiff.web.work import Progress

PREVIEW_SIDE, SHOWN_SIDE = 384, 512
# Seconds between previews, which take time as well
_EVERY = 0.15
_QUALITY = 80


# Of a level, what is told beside the pictures of each step
COEFFICIENTS = ("t", "signal", "residual", "noise")


class StoppedError(Exception):
    """A job was told to stop."""


@dataclass
class Watch:
    """Follows the network calls of one job.

    Parameters
    ----------
    size : height and width of the picture
    steps : how many there will be
    tell : is told of each step, with a preview where there is a new one
    is_stopping : whether the job is to stop; asked before each network call
    shows_steps : whether `shown` gathers what each step made
    """

    size: tuple[int, int]
    steps: int
    tell: Callable[[Progress, bytes | None], None]
    is_stopping: Callable[[], bool]
    shows_steps: bool = False
    shown: dict[str, bytes] = field(default_factory=dict)
    tiled_pixels: float = 0.0
    _step: int = 0
    _previewed: float = float("-inf")
    _seen: float = 0.0
    _levels: list[dict[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def following(self, restorer: Restorer) -> Iterator[None]:
        """Within it, the calls of `restorer` are followed; they raise `StoppedError` when it is time."""
        # A function, for copies of the network are made with copies of the objects that hooks are bound to
        before = restorer.denoiser.backbone.register_forward_pre_hook(lambda network, shown: self._called(shown[0]))
        after = restorer.denoiser.register_forward_hook(self._estimated)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _called(self, shown: Tensor) -> None:
        if self.is_stopping():
            raise StoppedError
        if self.tiled_pixels:
            self._seen += shown.shape[0] * shown.shape[2] * shown.shape[3]
            step = min(self.steps - 1, int(self._seen / self.tiled_pixels))
            if step > self._step:
                self._step = step
                self.tell(Progress(step, self.steps), None)

    def _estimated(self, module: nn.Module, given: tuple[Any, ...], estimate: Estimate) -> None:
        if self.tiled_pixels:
            return
        self._step += 1
        progress = Progress(self._step, max(self.steps, self._step))
        if self.shows_steps:
            self._show(given[0], given[1], estimate)
        preview, now = None, time.monotonic()
        if now - self._previewed > _EVERY and progress.step < progress.steps:
            self._previewed = now
            preview = images.encode(self._small(estimate.x0, PREVIEW_SIDE, 1), Format.WEBP, quality=_QUALITY)
        self.tell(progress, preview)

    def _show(self, x: Tensor, level: Level, estimate: Estimate) -> None:
        for name, values, reach in (
            ("x", x, 1),
            ("x0", estimate.x0, 1),
            ("residual", estimate.residual, 2),
            ("noise", estimate.noise, 2),
        ):
            picture = self._small(values, SHOWN_SIDE, reach)
            self.shown[f"{self._step - 1:02d}-{name}.png"] = images.encode(picture, Format.PNG)
        self._levels.append({name: float(getattr(level, name)) for name in COEFFICIENTS})
        self.shown["levels.json"] = json.dumps(self._levels).encode()

    def _small(self, values: Tensor, side: int, reach: int) -> Picture:
        """(1, 3, H, W) in [-reach, reach] as a picture whose longest side is at most `side`."""
        height, width = self.size
        whole = values[:1, :, :height, :width].float().cpu()
        share = min(1.0, side / max(height, width))
        if share < 1:
            size = (max(1, round(share * height)), max(1, round(share * width)))
            whole = F.adaptive_avg_pool2d(whole, size)
        return Picture(torch.nan_to_num((whole[0] + reach) / (2 * reach)).clamp(0, 1))
