"""Trackers: where a run's figures and pictures go besides its own folder."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

from torch import Tensor

from residiff import files
from residiff.errors import ResourceError
from residiff.train.log import RunLog

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a run tells of itself as it goes; `docs/training-seen.md` has an example of another one.

    An `OSError` or `ResourceError` of the first two ends the telling, and not the run.
    """

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name, as they are after update number `step` (1-based)."""
        ...

    def picture(self, step: int, name: str, image: Tensor) -> None:
        """Take a picture (3, H, W) in [0, 1], as it is after update number `step`."""
        ...

    def close(self) -> None:
        """Let go of what is open; nothing is told afterwards. May be called twice."""
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
        If the folder may not be written to, or, from any method, if the disk is full.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        # A fifth of a second, and many modules, that a run without TensorBoard does not need. torch's own writer has a
        # thread, which prints a trace where the disk is full
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder, self._event = folder, Event
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        with files.environment_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("xb")
            self._writer = RecordWriter(self._file)
        self._write(Event(step=after + 1, file_version="brain.Event:2"))
        self._write(Event(step=after + 1, session_log=SessionLog(status=SessionLog.START)))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name; "validation/psnr" stands under the heading "validation"."""
        from torch.utils.tensorboard.summary import scalar

        for name, value in values.items():
            self._write(self._event(step=step, summary=scalar(name, value)))  # type: ignore[no-untyped-call]

    def picture(self, step: int, name: str, image: Tensor) -> None:
        """Take a picture (3, H, W) in [0, 1], which is kept as an 8-bit PNG."""
        from torch.utils.tensorboard.summary import image as picture

        pixels = image.detach().cpu().clamp(0, 1)
        shown = picture(name, pixels, dataformats="CHW")  # type: ignore[no-untyped-call]
        self._write(self._event(step=step, summary=shown))

    def _write(self, event: Any) -> None:  # noqa: ANN401
        event.wall_time = time.time()
        with files.environment_errors(self.folder):
            self._writer.write(event.SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """Close the file; may be called twice."""
        with files.environment_errors(self.folder):
            self._file.close()


class Trackers:
    """Those that a run tells of itself; one that cannot take what it is told is told no more, and training goes on.

    Parameters
    ----------
    trackers : who is told
    log : where it is noted that one is told no more; what it was told of is in the log as well
    """

    def __init__(self, trackers: Sequence[Tracker], log: RunLog) -> None:
        self.told, self.log = list(trackers), log

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Tell figures by name after update number `step`."""
        self._tell(step, lambda tracker: tracker.figures(step, values))

    def picture(self, step: int, name: str, image: Tensor) -> None:
        """Tell a picture (3, H, W) in [0, 1]."""
        self._tell(step, lambda tracker: tracker.picture(step, name, image))

    def _tell(self, step: int, tell: Callable[[Tracker], None]) -> None:
        for tracker in tuple(self.told):
            try:
                tell(tracker)
            except (OSError, ResourceError) as error:
                self.told.remove(tracker)
                text = f"{type(tracker).__name__} is told no more: {error}"
                logger.warning("%s", text)
                self.log.event(step, "tracker", text)
                with contextlib.suppress(OSError, ResourceError):
                    tracker.close()
