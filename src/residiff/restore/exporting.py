"""A model for other programs: its network as a graph, and how it is sampled as JSON.

A sampling run is linear in what the network makes of x_t. At each call

    x_t = sum of weights times (x_in, the fields of noise, and x_0, R and eps of the calls before)

and so is the result; the weights are had by running the sampler on unit vectors in place of pictures, whatever the
solver is. Of one call, x_0, R and eps are linear in (x_t, x_in, the network's outputs), but for clamps.
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from residiff.backends import Folded, exported, onnx_bytes, torch_bytes
from residiff.backends.kinds import needed
from residiff.checkpoint import ModelFile
from residiff.denoiser import Denoiser
from residiff.errors import ConfigError, ModelFileError, check_range
from residiff.files import write_bytes
from residiff.inference import sampled
from residiff.nearest import name_hint
from residiff.prediction import Estimate, Estimator
from residiff.recipe import Recipe
from residiff.schedule import Level

ALLOWED = 1e-3
FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
Sampler = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """The files that were written, and the largest difference between the graph's outputs and the network's."""

    graph: Path
    sampler: Path
    difference: float


def export_model(model: ModelFile, output: Path, format: str | None = None, steps: int | None = None) -> Exported:
    """Write the graph of a model's network, and the JSON of its sampler for so many `steps` beside it.

    `output` is a folder, or a file that ends in .onnx or .pt2; `format` "onnx" or "torch".

    Raises
    ------
    ConfigError
        If the format is none of these, or is not that of the file.
    ModelFileError
        If the graph gives something else than the network, by more than 1e-3; nothing is written.
    ResourceError
        If the packages of the extra `onnx` are missing.
    """
    chosen = _format(output, format)
    path = output if output.suffix in FORMATS.values() else output / f"{model.recipe.name}{FORMATS[chosen]}"
    sampler = sampler_facts(model.recipe, steps)
    denoiser = model.denoiser()
    network = Folded(denoiser.backbone)
    program = exported(network)
    data = onnx_bytes(program, network.heads) if chosen == "onnx" else torch_bytes(program)
    off = _difference(network, data, chosen)
    if not off <= ALLOWED:
        raise ModelFileError(
            f"the graph differs from the network by {off:.1e}, allowed are {ALLOWED}; it is not written"
        )
    beside = path.with_suffix(".json")
    write_bytes(path, data)
    write_bytes(beside, (json.dumps({**sampler, "graph": path.name, "sha256": model.sha256}, indent=1) + "\n").encode())
    return Exported(path, beside, off)


def _format(output: Path, format: str | None) -> str:
    by_name = {suffix: name for name, suffix in FORMATS.items()}.get(output.suffix)
    chosen = format or by_name or "onnx"
    if chosen not in FORMATS:
        raise ConfigError(f"format is {chosen!r}; {name_hint(chosen, FORMATS)}")
    near = difflib.get_close_matches(output.suffix, FORMATS.values(), 1)
    if by_name is None and near and not output.is_dir():
        raise ConfigError(f"{output} ends in {output.suffix!r}; did you mean {near[0]!r}? Or give a folder")
    if by_name not in (None, chosen):
        raise ConfigError(f"{output} is a file of format {by_name}, not {chosen}; name it otherwise")
    return chosen


def _difference(network: Folded, data: bytes, format: str) -> float:
    """The largest difference of the outputs at two sizes, neither of them the one exported at."""
    source, worst = torch.Generator().manual_seed(0), 0.0
    for count, rows, columns in ((1, 4, 4), (3, 2, 5)):
        sides = rows * network.size_multiple, columns * network.size_multiple
        x = torch.randn((count, network.in_channels, *sides), generator=source)
        times = tuple(torch.tensor([0.5 + head]) for head in range(network.heads))
        with torch.no_grad():
            pairs = zip(network(x, times), _outputs(data, format, [x, *times]), strict=True)
            worst = max(worst, *(float((ours - theirs).abs().max()) for ours, theirs in pairs))
    return worst


def _outputs(data: bytes, format: str, given: Sequence[Tensor]) -> Sequence[Tensor]:
    if format == "torch":
        outputs: tuple[Tensor, ...] = torch.export.load(io.BytesIO(data)).module()(*given)
        return outputs
    session = needed("onnxruntime", "onnx").InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    found = session.run(None, {name: each.numpy() for name, each in zip(names, given, strict=True)})
    return [torch.from_numpy(each) for each in found]


def sampler_facts(recipe: Recipe, steps: int | None = None) -> Sampler:
    """Everything that a program needs beside the network: what it is shown, its calls, and the result, as JSON has it.

    `ConfigError` where the model does not take so many steps.
    """
    count = recipe.sampling.steps if steps is None else steps
    check_range("steps", count, 1, len(recipe.schedule))
    with torch.device("meta"):
        denoiser = recipe.build()
    run = _Run(1 + 6 * (2 * count + 2))
    last: Tensor | None = None
    for state in sampled(run, recipe, run.unit("x_in"), run.noise, steps=count):
        last = state.x
    network = recipe.network
    return {
        "format_version": 1,
        "name": recipe.name,
        "task": recipe.task,
        "size_multiple": int(denoiser.backbone.size_multiple),  # type: ignore[arg-type]
        "shown": _shown(recipe),
        "mask_form": network.mask_form if network.mask else None,
        "preprocess": network.preprocess,
        "prediction": recipe.prediction.kind,
        "clamp": recipe.clamp.value,
        "solver": {"sampler": recipe.sampling.sampler, "order": recipe.sampling.order, "eta": recipe.sampling.eta},
        "noise_fields": run.names.count("noise"),
        "calls": [_call(denoiser, level, run.named(x)) for level, x in run.calls],
        "result": run.named(last),
    }


def _shown(recipe: Recipe) -> list[str]:
    network = recipe.network
    asked = {"previous_x0": network.self_condition, "x_t": True, "x_in": network.shows_input, "mask": network.mask}
    return [name for name, wanted in asked.items() if wanted]


def _call(denoiser: Denoiser, level: Level, x: dict[str, list[float]]) -> dict[str, object]:
    heads = denoiser.prediction.heads
    times = denoiser.time_input(level, len(denoiser.schedule))[:heads]
    x_t, x_in, *outputs = torch.eye(2 + heads, dtype=torch.float64)
    made = denoiser.prediction.estimate(level, x_t, x_in, tuple(outputs))
    facts = {"signal": level.signal, "residual": level.residual, "noise": level.noise, "memory": level.memory}
    return {
        "times": [float(t) for t in times],
        "level": {name: float(value) for name, value in facts.items()},
        "x_t": x,
        "estimate": {
            "x0": made.x0.tolist(),
            "residual": made.residual.tolist(),
            "noise": made.noise.tolist(),
        },
    }


class _Run:
    """Stands for a denoiser in a sampling run on unit vectors, one for each thing that x_t is made of."""

    def __init__(self, dimensions: int) -> None:
        self._units: list[Tensor] = list(torch.eye(dimensions, dtype=torch.float64))
        self.names: list[str] = []
        self.calls: list[tuple[Level, Tensor]] = []

    def unit(self, name: str) -> Tensor:
        """The next thing."""
        self.names.append(name)
        vector: Tensor = self._units[len(self.names) - 1]
        return vector

    def noise(self) -> Tensor:
        """The next field of noise."""
        return self.unit("noise")

    def estimator(self) -> Estimator:
        """What the sampler calls."""
        return self._estimate

    def _estimate(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        self.calls.append((level, x_t))
        return Estimate(self.unit("x0"), self.unit("residual"), self.unit("eps"))

    def named(self, x: Tensor | None) -> dict[str, list[float]]:
        """The weights that make `x`, those of each name in the order of its things."""
        values = [] if x is None else x.tolist()
        found: dict[str, list[float]] = {}
        for name, value in zip(self.names, values, strict=False):
            found.setdefault(name, []).append(value)
        return found
