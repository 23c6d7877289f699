"""How good the bundled models are on real photographs: recomputes every quality figure that residiff claims.

For example: python benchmarks/quality.py --tasks denoise --model denoise=model.safetensors --json quality.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Protocol

import torch
from baselines import Candidate, Method, Sample, clahe, equalised, gamma, nl_means, opencv_means
from rich.console import Console
from rich.table import Table
from torch import Tensor

from residiff.data.degrade.draws import to_8_bit
from residiff.data.degrade.table import degrade
from residiff.errors import ConfigError, ResidiffError
from residiff.files import write_bytes
from residiff.metrics import masked_psnr, psnr, ssim
from residiff.photographs import photographs
from residiff.plots import grid
from residiff.seeds import generator

SIDE = 256
SIGMA = 25.0
DENOISED = ("astronaut", "coffee", "chelsea", "rocket")
LOW_LIGHT_RANGE = (7.0, 12.0)
DRAWS = 4
SEED = 0
OURS = "residiff"


class Restore(Protocol):
    """What `residiff.load` gives."""

    def __call__(self, image: Tensor, mask: Tensor | None = None, *, steps: int | None = None, seed: int = 0) -> Tensor:
        """A picture (3, H, W), restored; `mask` (1, H, W)."""
        ...


@dataclass(frozen=True)
class Result:
    """A method's scores on a task: a tuple for each metric, one number for each picture, in dB but for `ssim`."""

    task: str
    method: str
    settings: str
    seconds: float
    pictures: tuple[str, ...]
    scores: dict[str, tuple[float, ...]]

    def mean(self, metric: str) -> float:
        """Mean over the pictures."""
        return fmean(self.scores[metric])


@dataclass(frozen=True)
class Task:
    """Test pictures, the metrics they are scored by, and the classical methods to compare with."""

    name: str
    samples: Callable[[], list[Sample]]
    metrics: dict[str, Callable[[Tensor, Sample], float]]
    baselines: Callable[[], tuple[Method, ...]]


@dataclass(frozen=True)
class Run:
    """A method's result with the pictures that it made."""

    result: Result
    outputs: tuple[Tensor, ...]


def corners() -> dict[str, Tensor]:
    """The top left 256 x 256 pixels of each photograph."""
    return {name: image[:, :SIDE, :SIDE].contiguous() for name, image in photographs().items()}


def noisy_samples() -> list[Sample]:
    """Gaussian noise of 25 grey levels on four photographs."""
    pictures = corners()
    return [_degraded("noise", name, pictures[name], (SEED, k), {"sigma": SIGMA}) for k, name in enumerate(DENOISED)]


def dark_samples() -> list[Sample]:
    """Four draws of darkness on each photograph, without those whose PSNR lies outside 7 to 12 dB."""
    low, high = LOW_LIGHT_RANGE
    return [sample for sample in _drawn("low-light") if low <= psnr(sample.degraded, sample.clean) <= high]


def shadow_samples() -> list[Sample]:
    """Four draws of shadows on each photograph."""
    return _drawn("shadow")


def _drawn(kind: str) -> list[Sample]:
    return [
        _degraded(kind, f"{name}-{draw}", image, (SEED, k, draw), {})
        for k, (name, image) in enumerate(corners().items())
        for draw in range(DRAWS)
    ]


def _degraded(kind: str, name: str, clean: Tensor, seed: tuple[int, ...], parameters: dict[str, float]) -> Sample:
    image, mask = degrade(kind, clean, generator(*seed), parameters)
    return Sample(name, clean, image, mask)


def shadow_psnr(output: Tensor, sample: Sample) -> float:
    """PSNR over the pixels in shadow or penumbra (mask > 0)."""
    return masked_psnr(output, sample.clean, _mask(sample) > 0)


def lit_psnr(output: Tensor, sample: Sample) -> float:
    """PSNR over the pixels that no shadow touches (mask = 0)."""
    return masked_psnr(output, sample.clean, _mask(sample) == 0)


def _mask(sample: Sample) -> Tensor:
    if sample.mask is None:
        raise ConfigError(f"{sample.name} has no mask; shadow scores need one")
    return sample.mask


def run(task: Task, method: Method, samples: Sequence[Sample]) -> Run:
    """The method at whichever of its settings has the best mean PSNR."""
    return max((_run_once(task, method.name, candidate, samples) for candidate in method.candidates), key=_quality)


def _quality(candidate: Run) -> float:
    return candidate.result.mean("psnr")


def _run_once(task: Task, name: str, candidate: Candidate, samples: Sequence[Sample]) -> Run:
    began = time.perf_counter()
    outputs = tuple(to_8_bit(candidate.restore(sample)) for sample in samples)
    seconds = (time.perf_counter() - began) / len(samples)
    pairs = list(zip(outputs, samples, strict=True))
    scores = {key: tuple(metric(*pair) for pair in pairs) for key, metric in task.metrics.items()}
    return Run(Result(task.name, name, candidate.settings, seconds, tuple(s.name for s in samples), scores), outputs)


def evaluate(task: Task, restore: Restore, steps: int | None) -> list[Run]:
    """The input as it is, every classical method, and the model last."""
    samples = task.samples()

    def restored(sample: Sample) -> Tensor:
        return restore(sample.degraded, mask=sample.mask, steps=steps, seed=SEED)

    unchanged = Method("input", (Candidate("", lambda sample: sample.degraded),))
    ours = Method(OURS, (Candidate("own steps" if steps is None else f"steps={steps}", restored),))
    return [run(task, method, samples) for method in (unchanged, *task.baselines(), ours)]


def table(results: Sequence[Result]) -> Table:
    """The means of one task's results, with the gain over the input."""
    first = results[0]
    made = Table(title=f"{first.task}: mean of {len(first.pictures)} pictures", title_justify="left")
    made.add_column("method")
    for heading in [heading for key in first.scores for heading in HEADINGS[key]]:
        made.add_column(heading, justify="right")
    made.add_column("s/picture", justify="right")
    made.add_column("settings")
    for result in results:
        cells = [cell for key in result.scores for cell in _cells(key, result, first)]
        made.add_row(result.method, *cells, f"{result.seconds:.2f}", result.settings, style=_style(result))
    return made


def _style(result: Result) -> str:
    return "bold" if result.method == OURS else ""


def _cells(key: str, result: Result, start: Result) -> list[str]:
    if key == "ssim":
        return [f"{result.mean(key):.4f}"]
    if key == "psnr_lit":
        return [f"{min(result.scores[key]):.2f}"]
    return [f"{result.mean(key):.2f}", f"{result.mean(key) - start.mean(key):+.2f}"]


def summary(results: Sequence[Result]) -> str:
    """One line: what the model gains over the input and over the best classical method, by the task's first metric."""
    start, *others, ours = results
    metric = next(iter(ours.scores))
    line = f"{ours.task}: {ours.mean(metric) - start.mean(metric):+.2f} dB over the input"
    if not others:
        return line
    best = max(others, key=lambda result: result.mean(metric))
    return f"{line}, {ours.mean(metric) - best.mean(metric):+.2f} dB over {best.method}"


def as_json(results: Sequence[Result]) -> dict[str, object]:
    """Everything measured, with the machine and the date; null stands for an infinite PSNR."""
    machine = {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"date": now, "machine": machine, "results": [_result_json(result) for result in results]}


def _result_json(result: Result) -> dict[str, object]:
    means = {key: _finite(result.mean(key)) for key in result.scores}
    scores = {key: [_finite(value) for value in values] for key, values in result.scores.items()}
    return {**asdict(result), "mean": means, "scores": scores}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def show(task: Task, runs: Sequence[Run], path: Path) -> None:
    """A grid of the input, the best classical method, the model's result and the truth, PSNR below."""
    samples = task.samples()
    start, *others, ours = runs
    shown = [start, *sorted(others, key=_quality)[-1:], ours]
    rows = [[*(each.outputs[k] for each in shown), sample.clean] for k, sample in enumerate(samples)]
    decibels = [[f"{value:.2f} dB" for value in each.result.scores["psnr"]] for each in shown]
    captions = [[*words, sample.name] for *words, sample in zip(*decibels, samples, strict=True)]
    grid(rows, [*(each.result.method for each in shown), "truth"], captions, path)


def measure(
    tasks: Sequence[str],
    load: Callable[[str], Restore],
    models: dict[str, str],
    steps: int | None,
    pictures: Path | None,
    console: Console,
) -> list[Result]:
    """Run the tasks by name, print each table, and write the grids to `pictures` where it is given."""
    everything: list[Result] = []
    restorers = {name: load(models.get(name, name)) for name in tasks}  # a missing one is found before the long part
    for name, restore in restorers.items():
        task = TASKS[name]
        runs = evaluate(task, restore, steps)
        results = [each.result for each in runs]
        console.print(table(results))
        console.print(summary(results), highlight=False)
        if pictures is not None:
            show(task, runs, pictures / f"{name}.png")
        everything += results
    return everything


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description="Quality of the models on photographs, against classical methods.")
    model_help = "the model to use for a task, in place of the bundled one; may be repeated"
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH", help=model_help)
    parser.add_argument("--steps", type=int, help="sampling steps; each model's own number by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write a grid of pictures for each task there")
    return parser.parse_args(arguments)


def models_of(pairs: Sequence[str]) -> dict[str, str]:
    """The models named by NAME=PATH, by task."""
    named = dict(pair.partition("=")[::2] for pair in pairs)
    for task, path in named.items():
        if task not in TASKS or not path:
            allowed = f"NAME=PATH with NAME one of {', '.join(TASKS)}"
            raise ConfigError(f"--model {task}={path} is not usable: give {allowed}")
    return named


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    import residiff

    options = parse(arguments)
    try:
        models = models_of(options.model)
        results = measure(options.tasks, residiff.load, models, options.steps, options.pictures, Console())
        if options.json is not None:
            write_bytes(options.json, (json.dumps(as_json(results), indent=2, allow_nan=False) + "\n").encode())
    except ResidiffError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


PSNR: dict[str, Callable[[Tensor, Sample], float]] = {
    "psnr": lambda output, sample: psnr(output, sample.clean),
    "ssim": lambda output, sample: ssim(output, sample.clean),
}
HEADINGS = {
    "psnr": ("PSNR", "gain"),
    "ssim": ("SSIM",),
    "psnr_shadow": ("in shadow", "gain"),
    "psnr_lit": ("elsewhere, least",),
}
TASKS = {
    "denoise": Task("denoise", noisy_samples, PSNR, lambda: (opencv_means(), nl_means(SIGMA))),
    "low-light": Task("low-light", dark_samples, PSNR, lambda: (gamma(), equalised(), clahe())),
    "shadow": Task("shadow", shadow_samples, {"psnr_shadow": shadow_psnr, "psnr_lit": lit_psnr, **PSNR}, tuple),
}

if __name__ == "__main__":
    sys.exit(main())
