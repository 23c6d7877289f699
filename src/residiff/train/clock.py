"""How fast a run goes, what it holds, and when it is to be saved."""

from __future__ import annotations

import math
import time

import psutil
import torch

from residiff.train.log import Progress


class Clock:
    """The time of this process's stretch of a run, which begins now.

    Parameters
    ----------
    save_seconds : between two saves
    pairs : of an update
    device : whose memory is reported: of a GPU the most that was held, otherwise what the process holds
    """

    def __init__(self, save_seconds: float, pairs: int, device: torch.device) -> None:
        self.save_seconds, self.pairs, self.device = save_seconds, pairs, device
        self.began = self.saved = self.last = time.monotonic()
        self.process = psutil.Process()

    def progress(self, step: int, loss: float, rate: float, norm: float) -> Progress:
        """Update number `step`, which is done now, its loss, learning rate and norm of the gradient."""
        now = time.monotonic()
        speed = self.pairs / (now - self.last) if now > self.last else math.nan
        self.last = now
        return Progress(step, loss, rate, now - self.began, norm, speed, self._memory())

    def _memory(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return int(self.process.memory_info().rss)

    def is_due(self) -> bool:
        """Whether the run is to be saved, the last time being long ago."""
        return time.monotonic() - self.saved > self.save_seconds

    def restart(self) -> None:
        """The run has been saved."""
        self.saved = time.monotonic()
