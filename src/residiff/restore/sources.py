"""Where the rows of a picture come from: from memory or a file, continued to the size that a network works in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

from residiff.restore.planes import mirrored, pad_side
from residiff.restore.tiling import Span


class RowSource(Protocol):
    """A picture that gives its rows, each once, from top to bottom."""

    height: int
    width: int

    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom`, which is left out, (C, n, W) in [0, 1]."""
        ...


class HasRows(Protocol):
    """A picture that comes by rows."""

    def rows(self) -> Iterator[tuple[Span, Tensor]]:
        """Rows from top to bottom, and what they are: (3, n, W) in [0, 1]."""
        ...


class Held:
    """A picture (C, H, W) in memory as a source of rows."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.height, self.width = int(pixels.shape[1]), int(pixels.shape[2])

    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom`, which is left out."""
        return self.pixels[:, top:bottom]


class Sources:
    """A picture and its mask, or None, opened to be read from top to bottom, and padded to a `multiple`."""

    def __init__(self, picture: RowSource, mask: RowSource | None, multiple: int) -> None:
        self.picture, self.mask, self.multiple = picture, mask, multiple

    def rows(self, span: Span) -> Raw:
        """The rows of `span`, which may lie below the picture by less than the multiple."""
        mask = None if self.mask is None else self._continued(self.mask, span).mean(0, keepdim=True)
        return Raw(self._continued(self.picture, span).expand(3, -1, -1), mask)

    def _continued(self, source: RowSource, span: Span) -> Tensor:
        """Mirrored to the right and below, as `pad_to_multiple` does."""
        stop = min(span.stop, source.height)
        part = pad_side(source.rows(span.start, stop), -1, self.multiple)
        return (
            part
            if stop == span.stop
            else part.index_select(1, mirrored(source.height, span.stop)[span.start :] - span.start)
        )


@dataclass(frozen=True)
class Raw:
    """What is read: (3, n, W) in [0, 1], and (1, n, W) of the mask or None."""

    pixels: Tensor
    mask: Tensor | None


# A picture is read more than once: each time it is opened anew
Opener: TypeAlias = Callable[[], AbstractContextManager[Sources]]
