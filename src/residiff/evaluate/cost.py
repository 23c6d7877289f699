"""What a model costs: parameters, multiplications, seconds and memory, and what the papers' counter would have said.

That counter, THOP, knows a few types of layers, and of those no subclasses: it passes over the weight-standardised
convolutions, which are four fifths of the papers' U-Net. So "7.7M parameters, 32.9 GMAC" were printed of a network of
36.26M and 119.2 GMAC at 256 x 256.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TypeAlias

import psutil
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from residiff.data.images import Picture
from residiff.errors import ConfigError, check_range
from residiff.recipe import Recipe
from residiff.restore import load

# Layers that THOP has a rule for among those that the networks here are made of
_KNOWN_TO_THOP = (nn.Conv2d, nn.Linear)
_RUNS = 3
MAX_SIDE = 65_536
Row: TypeAlias = dict[str, object]

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Count:
    """Parameters, and multiply-accumulate operations of one network call on a picture of `height` x `width`.

    The last two are what THOP would have counted of both.
    """

    height: int
    width: int
    parameters: int
    macs: int
    parameters_as_published: int
    macs_as_published: int


@dataclass(frozen=True)
class Run:
    """Seconds of restoring a picture, the median of three after one, and the most bytes taken for it.

    They are those beyond what the process held before the model was loaded (where the system does not tell the most
    that a process has held, what it holds after the last run), or, with `threads` 0, those of a graphics card.
    """

    height: int
    width: int
    steps: int
    seconds: float
    peak_bytes: int
    device: str
    threads: int


def count(recipe: Recipe, height: int, width: int) -> Count:
    """Count a recipe's network by torch's own counter, every layer; nothing is computed and no memory taken.

    `height` and `width` are those of the picture; it is padded to the multiple that the network works in.
    """
    check_range("height", height, 1, MAX_SIDE)
    check_range("width", width, 1, MAX_SIDE)
    with torch.device("meta"):
        network = recipe.backbone().eval()
    multiple = int(network.size_multiple)  # type: ignore[arg-type]
    shape = tuple(-(-side // multiple) * multiple for side in (height, width))
    x = torch.zeros(1, recipe.in_channels, *shape, device="meta")
    times = (torch.zeros(1, device="meta"),) * recipe.prediction.heads
    published = _AsPublished(network)
    # The fused kernels of attention are unknown to the counter
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops, published, torch.no_grad():
        network(x, times)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Count(height, width, parameters, flops.get_total_flops() // 2, published.parameters, published.macs)


class _AsPublished:
    """While it is entered, counts the network's calls as THOP does: convolutions and linear layers, no subclasses."""

    def __init__(self, network: nn.Module) -> None:
        self.layers = [layer for layer in network.modules() if type(layer) in _KNOWN_TO_THOP]
        self.parameters = sum(each.numel() for layer in self.layers for each in layer.parameters())
        self.macs = 0
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> None:
        self.hooks = [layer.register_forward_hook(self._count) for layer in self.layers]

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _count(self, layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        # Of each value of the result as many as its filter has taps, whatever the groups
        taps = next(value for name, value in layer.named_parameters() if name == "weight")[0].numel()
        self.macs += result.numel() * taps


def measure(
    model: str, sizes: Sequence[tuple[int, int]], steps: Sequence[int | None], *, device: str = "auto", threads: int = 1
) -> Iterator[Run]:
    """Time a model on grey pictures of (height, width) `sizes` in so many `steps` (None: its own), largest last.

    Each case runs in a process of its own, so that what one took is not told of the next; it is warmed up by one run.

    Raises
    ------
    ConfigError, ModelFileError
        If the model is not there or cannot take so many steps.
    ResourceError
        If a picture does not fit into memory.
    """
    for size in sorted(sizes):
        for count_ in steps:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                yield process.submit(_measured, model, size, count_, device, threads).result()


def _measured(model: str, size: tuple[int, int], steps: int | None, device: str, threads: int) -> Run:
    torch.set_num_threads(threads)
    before = held("VmRSS")
    restorer = load(model, device)
    picture = Picture(torch.full((3, *size), 0.5))
    mask = Picture(torch.ones(1, *size)) if restorer.descriptor.needs_mask else None
    seconds = []
    for _ in range(1 + _RUNS):
        began = time.perf_counter()
        restorer.restore(picture, mask, steps=steps, seed=0)
        seconds.append(time.perf_counter() - began)
    on_card = restorer.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_card else held("VmHWM") - before
    taken = restorer.descriptor.steps if steps is None else steps
    return Run(*size, taken, median(seconds[1:]), peak, str(restorer.device), 0 if on_card else threads)


def held(key: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" the most so far (where the system tells)."""
    if not _STATUS.is_file():
        # Neither macOS nor Windows tells the most that a process has held of itself alone
        return int(psutil.Process().memory_info().rss)
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "256" or "640x480", which is 640 wide; `ConfigError` if it does not read so."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower())
    if found is None:
        raise ConfigError(f"size is {text!r}; give a side, 256, or width and height, 640x480")
    for side in filter(None, found.groups()):
        check_range("size", int(side), 1, MAX_SIDE)
    return int(found[2] or found[1]), int(found[1])


def cost_rows(recipe: Recipe, sizes: Sequence[tuple[int, int]], steps: Sequence[int | None]) -> list[Row]:
    """What a recipe's network costs by size and steps (None: the recipe's own), counted, as rows of a table."""
    every = [
        (count(recipe, *size), recipe.sampling.steps if number is None else number)
        for size in sizes
        for number in steps
    ]
    return [_row(counted, number) for counted, number in every]


def timed_row(recipe: Recipe, run: Run) -> Row:
    """The same of a run, with its seconds and memory."""
    where = run.device if run.threads == 0 else f"{run.device}, {run.threads} threads"
    taken: Row = {"seconds": round(run.seconds, 3), "peak_MiB": round(run.peak_bytes / 2**20), "device": where}
    return _row(count(recipe, run.height, run.width), run.steps) | taken


def _row(counted: Count, steps: int) -> Row:
    return {
        "size": f"{counted.width}x{counted.height}",
        "steps": steps,
        "parameters_M": round(counted.parameters / 1e6, 3),
        "GMAC_a_step": round(counted.macs / 1e9, 2),
        "GMAC": round(counted.macs * steps / 1e9, 2),
        "as_published_M": round(counted.parameters_as_published / 1e6, 3),
        "as_published_GMAC_a_step": round(counted.macs_as_published / 1e9, 2),
    }
