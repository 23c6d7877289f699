"""Speed of restoring: latency, throughput and memory by size, steps, backend and batch, as ratios within one run.

The reference is the published arithmetic, timed in the same run: the papers' U-Net of 36.26M parameters, not folded,
eager, contiguous, with random weights, which cost as much as trained ones. Contenders take turns, a round each, so that
what else the machine does falls on all of them; a figure is the median of its rounds, its ratio one of two medians.
"""

from __future__ import annotations

import io
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median

import psutil
import torch
from torch import Tensor

from residiff import __version__
from residiff.checkpoint import load_model
from residiff.denoiser import Denoiser
from residiff.errors import ConfigError, check_range
from residiff.files import write_bytes
from residiff.models import find
from residiff.nn.unet import UNet
from residiff.noise import seeded_noise
from residiff.restore import Restorer

REFERENCE = "reference"
ROUNDS = 5
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What is timed: a square of `size` pixels, so many `steps` and pictures at once, on a backend."""

    size: int
    steps: int
    backend: str
    batch: int


@dataclass(frozen=True)
class Timing:
    """Of a case: seconds a picture (the median of the rounds), all of them, pictures a second, and bytes held after it.

    `ratio` is how many times sooner a picture is done than by the reference at the same size and its own five steps;
    `step_ratio` the same of one step.
    """

    case: Case
    seconds: float
    rounds: tuple[float, ...]
    per_second: float
    resident_bytes: int
    ratio: float
    step_ratio: float


def bench(
    model: str,
    sizes: Sequence[int] = (256,),
    steps: Sequence[int | None] = (None,),
    backends: Sequence[str] = ("eager",),
    batches: Sequence[int] = (1,),
    rounds: int = ROUNDS,
    device: str = "cpu",
) -> list[Timing]:
    """Time a model in every combination; the threads are torch's of now.

    Raises
    ------
    ConfigError
        If a number is out of range, or a backend cannot run here.
    ResourceError
        If the packages of a backend are missing.
    """
    for name, values, most in (("size", sizes, 8192), ("batch", batches, 1024), ("rounds", (rounds,), 1000)):
        for value in values:
            check_range(name, value, 1, most)
    held = load_model(find(model))
    restorers = {backend: Restorer(held, device, backend) for backend in backends}
    own = held.recipe.sampling.steps
    cases = [Case(*each) for each in product(sizes, [own if n is None else n for n in steps], backends, batches)]
    works: dict[Case | tuple[str, int], Work] = {case: _restoring(restorers[case.backend], case) for case in cases}
    for size in sizes:
        works[REFERENCE, size] = reference_call(size, device)
    resident: dict[Case | tuple[str, int], int] = {}
    found = alternated(works, rounds, lambda key: resident.update({key: _resident()}))
    base = {size: median(found[REFERENCE, size]) for size in sizes}
    return [_timing(case, found[case], base[case.size], resident[case]) for case in cases]


def _timing(case: Case, rounds: Sequence[float], step: float, resident: int) -> Timing:
    """`step` is what the reference takes for one."""
    each = tuple(seconds / case.batch for seconds in rounds)
    seconds = median(each)
    per_step = seconds / case.steps
    return Timing(case, seconds, each, 1 / seconds, resident, _STEPS * step / seconds, step / per_step)


def alternated(
    works: Mapping[object, Work] | Mapping[Case | tuple[str, int], Work],
    rounds: int,
    after: Callable[[Case | tuple[str, int]], None] = lambda key: None,
) -> dict[object, list[float]]:
    """Seconds of each work in each round, in turns, one round before that does not count; `after` each one."""
    found: dict[object, list[float]] = {key: [] for key in works}
    for number in range(rounds + 1):
        for key, work in works.items():
            began = time.perf_counter()
            work()
            if number:
                found[key].append(time.perf_counter() - began)
            after(key)  # type: ignore[arg-type]
    return found


def reference_network() -> UNet:
    """The papers' U-Net with random weights, as published: x_t and x_in of three channels each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(6).eval().requires_grad_(False)


def reference_call(size: int, device: str = "cpu") -> Work:
    """One call of the reference on a picture, its side rounded up to a multiple of 8."""
    network, side = reference_network().to(device), -(-size // 8) * 8
    x, times = torch.zeros(1, 6, side, side, device=device), (torch.full((1,), 500.0, device=device),)

    @torch.inference_mode()
    def call() -> None:
        network(x, times)
        _wait(device)

    return call


def _restoring(restorer: Restorer, case: Case) -> Work:
    multiple = restorer.descriptor.size_multiple
    side = -(-case.size // multiple) * multiple
    check_range("steps", case.steps, 1, restorer.descriptor.max_steps)
    x_in = torch.zeros(case.batch, 3, side, side, device=restorer.device)
    condition = _condition(restorer, x_in)

    def run() -> None:
        noise = seeded_noise(0, x_in.shape, restorer.device)
        for _ in restorer.sample(x_in, noise, case.steps, condition):
            pass
        _wait(restorer.device.type)

    return run


def _condition(restorer: Restorer, x_in: Tensor) -> Tensor | None:
    channels = restorer.recipe.in_channels - _shown(restorer.denoiser)
    return x_in[:, :1].expand(-1, channels, -1, -1) if restorer.recipe.network.mask else None


def _shown(denoiser: Denoiser) -> int:
    return 3 * (1 + denoiser.shows_input + denoiser.self_condition)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def write_results(path: Path, timings: Sequence[Timing], model: str) -> None:
    """Write the timings, and what they were made on, as JSON."""
    machine = {
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "residiff": __version__,
    }
    facts = {"model": model, **machine, "timings": [asdict(each) for each in timings]}
    write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())


def rows(timings: Sequence[Timing]) -> Iterator[dict[str, object]]:
    """A row of a table for each."""
    for each in timings:
        yield {
            **asdict(each.case),
            "seconds": round(each.seconds, 4),
            "per_second": round(each.per_second, 3),
            "MiB": round(each.resident_bytes / 2**20),
            "times_the_reference": round(each.ratio, 2),
            "a_step": round(each.step_ratio, 2),
        }


def check_plot(path: Path) -> None:
    """Raise `ConfigError` unless a plot can be written there."""
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"{path} ends in {path.suffix!r}; a plot is a .png or a .svg file")


def plot(path: Path, timings: Sequence[Timing]) -> None:
    """Draw milliseconds a picture against its side, a line for each backend, steps and batch."""
    from matplotlib.figure import Figure

    check_plot(path)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    lines: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
    for each in timings:
        case = each.case
        lines.setdefault((case.backend, case.steps, case.batch), []).append((case.size, 1000 * each.seconds))
    for (backend, steps, batch), points in lines.items():
        axis.plot(*zip(*sorted(points), strict=True), marker="o", label=f"{backend}, {steps} steps, {batch} at once")
    axis.set(xlabel="side of the picture in pixels", ylabel="milliseconds a picture", xscale="log", yscale="log")
    axis.legend(frameon=False, fontsize=7)
    with_date = {"Date": None} if path.suffix == ".svg" else None
    _save(figure, path, with_date)


def _save(figure: object, path: Path, metadata: dict[str, None] | None) -> None:
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix[1:], metadata=metadata)  # type: ignore[attr-defined]
    write_bytes(path, data.getvalue())


_STEPS = 5
