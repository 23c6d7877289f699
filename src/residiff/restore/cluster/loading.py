"""How workers load the model: from bytes that travel with the work, so that its file need not be where they are."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from residiff import models
from residiff.data.images import Picture
from residiff.files import environment_errors
from residiff.restore import Restorer, load


@dataclass(frozen=True)
class Loading:
    """The arguments of `load`; `model` holds the bytes of the model's file.

    `device` is a worker's: "auto" is its GPU where the cluster gives it one.
    """

    model: bytes
    device: str = "auto"
    backend: str = "eager"
    settings: tuple[str, ...] = ()
    calibration: tuple[Picture, ...] = ()
    budget: float | None = None

    @classmethod
    def of(
        cls,
        source: str | Path,
        device: str = "auto",
        settings: tuple[str, ...] = (),
        *,
        backend: str = "eager",
        calibration: tuple[Picture, ...] = (),
        budget: float | None = None,
    ) -> Loading:
        """Of the model that `source` means to `load`; `ModelFileError` or `ResourceError` if it cannot be read."""
        path = models.find(source)
        with environment_errors(path):
            model = path.read_bytes()
        return cls(model, device, backend, settings, calibration, budget)

    def restorer(self) -> Restorer:
        """The model, ready; raises what `load` does."""
        with tempfile.TemporaryDirectory(prefix="residiff-") as folder:
            path = Path(folder) / "model.safetensors"
            path.write_bytes(self.model)
            return load(
                path,
                self.device,
                self.settings,
                backend=self.backend,
                calibration=self.calibration,
                budget=self.budget,
            )
