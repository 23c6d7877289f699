"""Strips: how held-out pictures become what they are, one row a picture and one column a moment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from residiff.errors import ConfigError

GAP = 2


def strip(columns: Sequence[Tensor]) -> Tensor:
    """Put columns of pictures side by side, `GAP` white pixels between them.

    Parameters
    ----------
    columns : (N, 3, H, W) in [0, 1] each, all of one shape: the inputs, the states on the way, the results, and the
        clean pictures where there are any; what is outside [0, 1] is clipped, as states on the way often are

    Returns
    -------
    One picture (3, N (H + GAP) - GAP, M (W + GAP) - GAP) of M columns, float32 in [0, 1], on the CPU.

    Raises
    ------
    ConfigError
        If there is no column, no picture, or the shapes differ.
    """
    shapes = {tuple(column.shape) for column in columns}
    if len(shapes) != 1 or any(len(shape) != 4 or shape[1] != 3 or 0 in shape for shape in shapes):
        raise ConfigError(f"the columns have shapes {sorted(shapes)}; a strip needs one shape (N, 3, H, W) for all")
    tiles = torch.stack([column.detach().cpu().float().clamp(0, 1) for column in columns], dim=1)
    framed = functional.pad(tiles, (0, GAP, 0, GAP), value=1.0)
    rows, count, _, height, width = framed.shape
    sheet = framed.permute(2, 0, 3, 1, 4).reshape(3, rows * height, count * width)
    return sheet[:, :-GAP, :-GAP].contiguous()


def headings(count: int, *, truth: bool) -> list[str]:
    """What the `count` columns of a run's strips are: input, states, result, and the truth where it is known."""
    ends = ["result", "truth"] if truth else ["result"]
    states = count - 1 - len(ends)
    return ["input", *["start", *["on the way"] * (states - 1)][:states], *ends]


def column_count(width: int, side: int) -> int | None:
    """How many columns of pictures `side` pixels wide a strip of `width` pixels has; None if it is no such strip."""
    count, rest = divmod(width + GAP, side + GAP)
    return None if rest or count == 0 else count
