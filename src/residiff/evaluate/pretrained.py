"""Networks of metrics with their published weights, ready to score; every name and shape in a file is accounted for.

Sources are those of `find_weights`. What is left out of a file is said here: the classifiers behind the layers that
LPIPS and DISTS compare, Inception's auxiliary classifier, and the counters of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from residiff.adapters.keys import KeysError, compared, shapes
from residiff.errors import ModelFileError
from residiff.evaluate.weights import Source, Weights, find_weights
from residiff.metrics.dists import DISTS
from residiff.metrics.inception import Inception, fid_inception, torchvision_inception
from residiff.metrics.lpips import LPIPS, alex_lpips, vgg_lpips
from residiff.metrics.naturalness import PUBLISHED, Pristine

_CLASSIFIER, _AUXILIARY = "classifier.", "AuxLogits."
_COUNTER = "num_batches_tracked"
_Module = TypeVar("_Module", bound=nn.Module)


def pretrained_alex_lpips(backbone: Source = None, linear: Source = None) -> LPIPS:
    """LPIPS (alex) v0.1, of the weights "alexnet" and "lpips-alex"; errors as of `find_weights`, and `KeysError`."""
    return _fitted(alex_lpips(), find_weights("alexnet", backbone), find_weights("lpips-alex", linear))


def pretrained_vgg_lpips(backbone: Source = None, linear: Source = None) -> LPIPS:
    """LPIPS (vgg) v0.1, of the weights "vgg16" and "lpips-vgg"; errors as of `find_weights`, and `KeysError`."""
    return _fitted(vgg_lpips(), find_weights("vgg16", backbone), find_weights("lpips-vgg", linear))


def pretrained_dists(backbone: Source = None, terms: Source = None) -> DISTS:
    """DISTS, of the weights "vgg16" and "dists"; errors as of `find_weights`, and `KeysError`."""
    return _fitted(DISTS(), find_weights("vgg16", backbone), find_weights("dists", terms))


def pretrained_fid_inception(source: Source = None) -> Inception:
    """The network of FID and KID, of the weights "inception-fid"; errors as of `find_weights`, and `KeysError`."""
    return _fitted(fid_inception(), find_weights("inception-fid", source))


def pretrained_torchvision_inception(source: Source = None) -> Inception:
    """The network of the Inception Score, of "inception-torchvision"; errors as of `find_weights`, and `KeysError`."""
    return _fitted(torchvision_inception(), find_weights("inception-torchvision", source))


def published_pristine(source: Source = None) -> Pristine:
    """NIQE's published parameters, of the weights "niqe".

    Raises
    ------
    ConfigError, ResourceError, ModelFileError
        As `find_weights` does; and where the file has no `mu_pris_param` and `cov_pris_param` of 36 features.
    """
    found = find_weights("niqe", source)
    try:
        mean, covariance = found.tensors["mu_pris_param"], found.tensors["cov_pris_param"]
    except KeyError as error:
        raise ModelFileError(f"{found.path} holds no {error}; it is no file of NIQE's parameters") from error
    return Pristine(mean.flatten().double(), covariance.double(), PUBLISHED)


def _fitted(module: _Module, *files: Weights) -> _Module:
    """The module with the files' weights.

    Raises
    ------
    KeysError
        If a name is missing, unknown or of another shape.
    ModelFileError
        If a weight is not finite, or one of LPIPS's weights of channels is below 0.
    """
    given = {key: value for file in files for key, value in file.tensors.items() if not _left_out(key)}
    own: Mapping[str, Tensor] = module.state_dict()
    origin = " and ".join(str(file.path) for file in files)
    needed = {key: shape for key, shape in shapes(own).items() if not key.endswith(_COUNTER)}
    if report := compared(needed, shapes(given)):
        raise KeysError(origin, report)
    for key, value in given.items():
        if not torch.isfinite(value).all() or (key.startswith("lin") and bool((value < 0).any())):
            raise ModelFileError(f"{origin}: {key} holds values that are not finite, or below 0 where none may be")
    module.load_state_dict({**own, **{key: value.float() for key, value in given.items()}})
    return module


def _left_out(key: str) -> bool:
    return key.startswith((_CLASSIFIER, _AUXILIARY)) or key.endswith(_COUNTER)
