"""A picture that is too large to be held: its file is read, restored and written a few rows at a time."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Protocol

from torch import Tensor

from residiff.data import images
from residiff.data.images import BitDepth, Format, RowReader
from residiff.errors import ConfigError
from residiff.files import sha256_of
from residiff.restore.jobs import Job
from residiff.restore.options import Options, Tile
from residiff.restore.planes import blended
from residiff.restore.provenance import Provenance, signed_as
from residiff.restore.sources import HasRows, Held, Opener, RowSource, Sources
from residiff.restore.tiling import Span, Tiling
from residiff.restore.work import Change, Hashes, Restores, provenance_by, settings_of

# Pixels, from which on a picture that is cut into tiles is not held
LEAST = 24_000_000
_BY_ROWS = (Format.PNG, Format.TIFF, Format.JPEG, Format.WEBP, Format.AVIF)


class RestoresRows(Restores, Protocol):
    """What restores pictures that it never holds."""

    def tiling(self, height: int, width: int, tile: Tile = "auto") -> Tiling | None:
        """How a picture is cut into tiles; None where it is not."""

    def large(
        self, tiling: Tiling, opener: Opener, *, steps: int | None = None, seed: int = 0, keep: bool = False
    ) -> HasRows:
        """A picture that is read and restored a few rows at a time."""


@dataclass(frozen=True)
class Streamed:
    """A picture that was restored and written: `sha256` of the file, and how far it is from the one it was made of."""

    sha256: str
    provenance: Provenance
    change: float


def tiling_of(job: Job, restorer: RestoresRows, options: Options, format: Format) -> Tiling | None:
    """How the picture of a job is cut if it is not to be held; None where it is: small, or of a kind without rows.

    Raises
    ------
    ImageError
        If its header cannot be read, or claims too many pixels.
    """
    if options.save_steps or options.samples > 1 or options.allow_truncated or format not in _BY_ROWS:
        return None
    height, width = images.size_of(job.source)
    if height * width < LEAST:
        return None
    with images.open_rows(job.source, max_pixels=options.max_pixels) as rows:
        return None if rows is None else restorer.tiling(rows.height, rows.width, options.tile)


def hashes_of(job: Job) -> Hashes:
    """SHA-256 of a job's files, of which little is in memory at a time; `ImageDecodeError` if one cannot be read."""
    for path in (job.source, job.mask):
        if path is not None:
            # What is no file, a pipe say, would be waited for
            images.fetch(path, 1)
    return sha256_of(job.source), None if job.mask is None else sha256_of(job.mask)


def restore_rows(
    job: Job, restorer: RestoresRows, options: Options, format: Format, tiling: Tiling, hashes: Hashes
) -> Streamed:
    """Restore a picture of which `tiling_of` gave a tiling, and put the result in its place.

    Raises
    ------
    ImageError
        If a file is damaged.
    ConfigError
        If picture and mask differ in size.
    ResourceError
        If the disk is full, or not even small tiles fit into memory.
    """
    with ExitStack() as stack:
        before = stack.enter_context(_opened(job.source, options))
        settings = settings_of(options, restorer, format, before.height * before.width)
        provenance = provenance_by(restorer, job.source.name, hashes, settings)
        metadata = images.Metadata() if options.strip else signed_as(before.metadata, provenance, format)
        depth: BitDepth = 8 if format not in (Format.PNG, Format.TIFF) else options.bit_depth or before.depth
        size = (before.channels, before.height, before.width)
        opener = _opener(job, options, tiling)
        large = restorer.large(tiling, opener, steps=settings.steps, seed=options.seed, keep=options.keep)
        writer = stack.enter_context(images.write_rows(job.target, format, size, depth, metadata, options.quality))
        apart = Change()

        def write(span: Span, rows: Tensor) -> None:
            old = before.rows(*span)
            new = blended(old, rows, options.strength)
            apart.add(old, new)
            writer.add(new)

        # Nothing of a strip is held while the next ones are computed
        deque(starmap(write, large.rows()), maxlen=0)
        writer.finish()
    return Streamed(sha256_of(job.target), provenance, apart.value)


def _opener(job: Job, options: Options, tiling: Tiling) -> Opener:
    """Opens picture and mask, as often as it is asked."""

    @contextlib.contextmanager
    def opened() -> Iterator[Sources]:
        with ExitStack() as stack:
            picture = stack.enter_context(_opened(job.source, options))
            mask = None if job.mask is None else stack.enter_context(_mask(job.mask, options))
            if mask is not None and (mask.height, mask.width) != (picture.height, picture.width):
                sizes = f"the mask is {mask.width} x {mask.height}, the image {picture.width} x {picture.height}"
                raise ConfigError(f"{sizes}; make them equal")
            yield Sources(picture, mask, tiling.multiple)

    return opened


@contextlib.contextmanager
def _opened(path: Path, options: Options) -> Iterator[RowReader]:
    with images.open_rows(path, max_pixels=options.max_pixels) as rows:
        if rows is None:
            raise ConfigError(f"{path} was changed while it was read; leave it as it is, and restore it again")
        yield rows


@contextlib.contextmanager
def _mask(path: Path, options: Options) -> Iterator[RowSource]:
    with images.open_rows(path, max_pixels=options.max_pixels) as rows:
        yield Held(images.read(path, max_pixels=options.max_pixels).pixels) if rows is None else rows
