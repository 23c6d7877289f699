"""Pictures that are too large to be held: read a few rows at a time, from top to bottom, and written so.

A `RowReader` gives the rows of what `read` would give; a `RowWriter` gathers rows in a temporary file of bare pixels
beside the target, and encodes it from there when all have come, so that neither pixels nor file are ever in memory.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
from torch import Tensor

from residiff.data.images.codecs import Format, libvips, raw_image, save_to, source_opener
from residiff.data.images.decoding import Prepared, decoding, prepared, summary, warn_of_more_frames
from residiff.data.images.files import kept_fields, tagged
from residiff.data.images.picture import BitDepth, Metadata, Picture, planes_of, to_array
from residiff.errors import ConfigError, ImageTooLargeError, ImageUnsupportedError
from residiff.files import PREFIX, SUFFIX, environment_errors, replacing

# The most of a file that tells its kind, and where an animation would say so
_HEAD = 1 << 16


@final
class RowReader:
    """The rows of an upright picture without alpha, from top to bottom.

    Attributes
    ----------
    height, width : of the picture
    channels : 1 (grey) or 3 (sRGB)
    depth : of its values, in bits
    """

    def __init__(self, name: str, ready: Prepared) -> None:
        self._name, self._region = name, libvips().Region.new(ready.image)
        self.height, self.width, self.channels = ready.image.height, ready.image.width, ready.colours
        self.depth, self.metadata = ready.depth, ready.metadata
        # Converted colours have 16 bits, whatever the file had
        self._type = np.uint8 if ready.image.format == "uchar" else np.uint16
        self._next = 0

    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom`, which is left out: (C, n, W) float32 in [0, 1]. They must follow those before.

        Raises
        ------
        ImageDecodeError
            If the file is damaged there.
        """
        if top != self._next or not top < bottom <= self.height:
            raise ConfigError(f"rows {top} to {bottom} do not follow {self._next}; read from top to bottom")
        with decoding(self._name):
            data = self._region.fetch(0, top, self.width, bottom - top)
        self._next = bottom
        values = np.frombuffer(data, self._type)
        return planes_of(values.reshape(bottom - top, self.width, self.channels))


@contextlib.contextmanager
def open_rows(path: Path, *, max_pixels: int) -> Iterator[RowReader | None]:
    """Open a file to be read by rows; None where it cannot be: with alpha, turned, a BMP, or floats.

    Raises
    ------
    ImageTooLargeError
        If its header claims more than `max_pixels` pixels.
    ImageDecodeError
        If its header is damaged.
    """
    name = str(path)
    with environment_errors(path), path.open("rb") as file:
        head = file.read(_HEAD)
        opener = source_opener(head)
        if opener is None:
            yield None
            return
        file.seek(0)
        with decoding(name):
            opened = opener(file.fileno())
            if opened.width * opened.height > max_pixels:
                size = f"{opened.width} x {opened.height} pixels"
                raise ImageTooLargeError(f"{name}: {size} are over the limit of {max_pixels}; raise it by --max-pixels")
            if opened.format not in ("uchar", "ushort") or opened.hasalpha():
                yield None
                return
            warn_of_more_frames(name, opened, head)
            ready = prepared(name, opened)
        yield RowReader(name, ready) if ready.turn == 1 else None


@final
@dataclass
class RowWriter:
    """A picture that is written by rows, from top to bottom, atomically: it is there when `finish` has returned."""

    path: Path
    format: Format
    height: int
    width: int
    channels: int
    depth: BitDepth
    metadata: Metadata
    quality: int
    raw: BinaryIO
    count: int = 0

    def add(self, rows: Tensor) -> None:
        """The next rows, (C, n, W) in [0, 1]; a `ResourceError` if the disk is full."""
        array = to_array(Picture(rows.float().contiguous(), bit_depth=self.depth))
        with environment_errors(self.path):
            self.raw.write(array.tobytes())
        self.count += rows.shape[1]

    def finish(self) -> None:
        """Encode what was added, and put it in its place.

        Raises
        ------
        ImageUnsupportedError
            If the format cannot hold a picture of this size.
        ResourceError
            If the disk is full or the place may not be written to.
        """
        if self.count != self.height:
            raise ConfigError(f"{self.count} rows of {self.height} were given; give all of them")
        with environment_errors(self.path):
            self.raw.flush()
        image = raw_image(self.raw.name, self.width, self.height, self.channels, self.depth == 16)
        image = tagged(image, self.channels == 1, self.depth, self.metadata)
        with replacing(self.path) as file:
            try:
                save_to(image, file.fileno(), self.format, self.quality, kept_fields(self.metadata, self.format))
            except libvips().Error as error:
                # libvips does not say that the disk is full; writing does
                file.write(bytes(_HEAD))
                file.flush()
                cause = f"cannot encode {self.width} x {self.height} pixels as {self.format.value} ({summary(error)})"
                raise ImageUnsupportedError(f"{cause}; use png or tiff") from error


@contextlib.contextmanager
def write_rows(
    path: Path,
    format: Format,
    size: tuple[int, int, int],
    depth: BitDepth,
    metadata: Metadata = Metadata(),  # noqa: B008
    quality: int = 95,
) -> Iterator[RowWriter]:
    """A writer of a picture of `size` (C, H, W); what it gathers is gone at the end, whatever happens."""
    channels, height, width = size
    with environment_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=PREFIX, suffix=SUFFIX, dir=path.parent) as raw:
            yield RowWriter(path, format, height, width, channels, depth, metadata, quality, raw)  # type: ignore[arg-type]
