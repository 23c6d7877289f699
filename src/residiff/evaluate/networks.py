"""The networks that protocols name, loaded: metrics of two pictures, features of many, and whose weights they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from residiff.evaluate.measures import Metric, Value
from residiff.evaluate.pretrained import (
    pretrained_alex_lpips,
    pretrained_dists,
    pretrained_fid_inception,
    pretrained_torchvision_inception,
    pretrained_vgg_lpips,
    published_pristine,
)
from residiff.evaluate.pristine import load_pristine
from residiff.evaluate.weights import PUBLISHED_WEIGHTS
from residiff.metrics import (
    InceptionFeatures,
    RandomFeatures,
    ScoreClasses,
    matlab_grey,
    niqe,
    pytorch_fid_input,
    tensorflow_input,
)
from residiff.metrics.frechet import Features

Source = str | None
Compared = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LoadedMetric:
    """A metric, and the name of its weights: scores by others cannot be compared."""

    metric: Metric
    weights: str


def network_metric(name: str, source: Source) -> LoadedMetric:
    """The metric that a network gives.

    Parameters
    ----------
    name : "lpips-alex", "lpips-vgg", "dists", "niqe"
    source
        Of its weights, as `weights.find_weights` has it; for NIQE also a .safetensors file of parameters of one's own.

    Raises
    ------
    ResourceError, ConfigError, ModelFileError
        As `find_weights` does: says what to fetch and where to put it.
    """
    return _METRICS[name](source)


def network_features(name: str, source: Source, device: str = "cpu") -> Features:
    """The features that sets are compared in: "inception-fid", "inception-fidelity", "inception-classes", random.

    They take (N, 3, H, W) in [0, 1]. Errors are those of `network_metric`.
    """
    network = _FEATURES[name](source).eval().to(device)
    return lambda images: network(images.to(device))


def _of_two(load: Callable[[Source, Source], torch.nn.Module], *rows: str) -> Callable[[Source], LoadedMetric]:
    """Of a network whose weights are two files, both in one folder."""

    def loaded(source: Source) -> LoadedMetric:
        network = load(source, source).eval().requires_grad_(False)

        def compare(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
            with torch.inference_mode():
                return Value(float(network(first.float()[None], second.float()[None])))

        return LoadedMetric(compare, " ".join(PUBLISHED_WEIGHTS[row].sha256[:12] for row in rows))

    return loaded


def _niqe(source: Source) -> LoadedMetric:
    own = source is not None and Path(source).suffix == ".safetensors"
    pristine = load_pristine(Path(str(source))) if own else published_pristine(source)

    def judge(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
        levels = (first * 255).round().to(torch.uint8)
        return Value(niqe(levels if levels.shape[0] == 1 else matlab_grey(levels), pristine))

    return LoadedMetric(judge, pristine.name)


_METRICS: dict[str, Callable[[Source], LoadedMetric]] = {
    "lpips-alex": _of_two(pretrained_alex_lpips, "alexnet", "lpips-alex"),
    "lpips-vgg": _of_two(pretrained_vgg_lpips, "vgg16", "lpips-vgg"),
    "dists": _of_two(pretrained_dists, "vgg16", "dists"),
    "niqe": _niqe,
}
_FEATURES: dict[str, Callable[[Source], torch.nn.Module]] = {
    "inception-fid": lambda source: InceptionFeatures(pretrained_fid_inception(source), pytorch_fid_input),
    "inception-fidelity": lambda source: InceptionFeatures(pretrained_fid_inception(source), tensorflow_input),
    "inception-classes": lambda source: ScoreClasses(pretrained_torchvision_inception(source)),
    "random-features": lambda source: RandomFeatures(),
}
