"""Trackers: where a run's figures and pictures go besides its own folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, final

from torch import Tensor

from residiff import files

# How long a figure may wait before it is seen
FLUSH_SECONDS = 10


class Tracker(Protocol):
    """What a run tells of itself as it goes; `docs/training-seen.md` has an example of another one."""

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name, as they are after update number `step` (1-based)."""
        ...

    def picture(self, step: int, name: str, image: Tensor) -> None:
        """Take a picture (3, H, W) in [0, 1], as it is after update number `step`."""
        ...

    def close(self) -> None:
        """Let go of what is open; nothing is told afterwards."""
        ...


@final
class TensorBoardTracker:
    """Event files for TensorBoard: `tensorboard --logdir FOLDER` shows them.

    Parameters
    ----------
    folder : where they go; made if need be
    after : the update that the run continues from, 0 where it begins. What older files in the folder say of later
        updates is hidden from then on, so that each update is shown once.

    Raises
    ------
    ResourceError
        If the folder may not be written to.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        # A fifth of a second, and many modules, that a run without TensorBoard does not need
        from torch.utils.tensorboard import SummaryWriter

        with files.environment_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder), purge_step=after + 1, flush_secs=FLUSH_SECONDS)

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name; "validation/psnr" stands under the heading "validation"."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: Tensor) -> None:
        """Take a picture (3, H, W) in [0, 1], which is kept as an 8-bit PNG."""
        self._writer.add_image(name, image.detach().cpu().clamp(0, 1), step)

    def close(self) -> None:
        """Write what is still waiting, and close the file; may be called twice."""
        self._writer.close()
