"""Whether a picture is restored in tiles, and how large they are: as the memory allows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from residiff.errors import check_range
from residiff.memory import Held, pretend
from residiff.recipe import Recipe
from residiff.restore.options import Tile
from residiff.restore.tiling import Tiling

# Pixels around a tile that its network is shown, and that are blended, by kind of network; where none is named, of all
HALOS = {"nafnet": (32, 8)}
HALO = (64, 16)
# Of a tile: rows, in halos, and columns
CORE, ACROSS = 8, 1024
# Bytes that a picture may take in one piece, whatever is free: results are to depend on memory as little as can be
WHOLE = 4e9
# Of the memory that is free: the rest is for the picture itself and what allocators leave unused
SHARE = 0.5
# A picture of fewer pixels is never cut
SMALL = 262_144
# Strips of a picture in memory, beside as many as there are calls, and in tensors of its size and float32: states,
# x_in, outputs, and what a step makes
_STRIPS, _STATES = 2, 7
# Bytes of three float32
_VALUES = 12
_PROBE = 256


def tiling_for(
    recipe: Recipe,
    multiple: int,
    size: tuple[int, int],
    tile: Tile,
    each: Callable[[], float],
    free: Callable[[], int],
) -> Tiling | None:
    """How a picture is cut, None where it is not: it is small enough, no larger than a tile, or `tile` is 0.

    Parameters
    ----------
    recipe, multiple : of the model, and what its network works in multiples of
    size : (height, width) of the picture
    tile : side of a tile's core, rounded up to the multiple
    each : tells what the network takes for a pixel, in bytes; asked if it matters
    free : tells how many bytes are free
    """
    height, width = size
    if tile == 0 or (tile == "auto" and height * width <= SMALL):
        return None
    sides = [-(-side // multiple) * multiple for side in (height, width)]
    halo, overlap = (-(-each // multiple) * multiple for each in HALOS.get(recipe.network.backbone.kind, HALO))
    least = max(halo, 2 * overlap)
    if tile != "auto":
        check_range("tile", tile, least, 65_536)
        core = across = -(-tile // multiple) * multiple
    else:
        pixel, share = each(), SHARE * free()
        if height * width * (pixel + _STATES * _VALUES) <= min(WHOLE, share):
            return None
        row = (recipe.sampling.steps + _STRIPS) * sides[1] * _STATES * _VALUES
        core = _halved(CORE * halo, least, lambda rows: rows * row <= share / 2)
        core = -(-core // multiple) * multiple
        across = _halved(ACROSS, least, lambda columns: (core + 2 * halo) * (columns + 2 * halo) * pixel <= share / 2)
        across = -(-across // multiple) * multiple
    whole = core >= sides[0] and across >= sides[1]
    return None if whole else Tiling(sides[0], sides[1], multiple, core, halo, overlap, across)


def _halved(side: int, least: int, fits: Callable[[int], bool]) -> int:
    """The side, or the largest half of a half of it that fits, at least so many."""
    while side > least and not fits(side):
        side = max(least, side // 2)
    return side


def bytes_per_pixel(recipe: Recipe) -> float:
    """What a network call takes at most for each pixel, found with tensors that have shapes and no values."""
    with torch.device("meta"):
        denoiser = recipe.build().eval()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    pretend(denoiser.backbone, mode)
    multiple = int(denoiser.backbone.size_multiple)  # type: ignore[arg-type]
    side = -(-_PROBE // multiple) * multiple
    held = Held(denoiser.backbone.state_dict().values())
    with held, torch.no_grad():
        with mode:
            x = torch.empty(1, recipe.in_channels, side, side)
            times = (torch.empty(1),) * recipe.prediction.heads
        denoiser.backbone(x, times)
    return held.peak / side**2
