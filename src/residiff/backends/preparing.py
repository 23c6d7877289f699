"""`prepare`: a denoiser whose network another backend runs; its weights stay the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from residiff.backends.choosing import Candidate, automatic
from residiff.backends.compiled import compiled_network, cuda_network
from residiff.backends.folding import Folded
from residiff.backends.kinds import Backend, Call
from residiff.backends.ort import onnx_network
from residiff.backends.vino import bfloat16_network, float32_network, int8_network
from residiff.denoiser import Denoiser
from residiff.errors import ConfigError

Calls = Callable[[], Sequence[Call]]


def prepare(denoiser: Denoiser, backend: Backend = Backend.EAGER, calls: Calls | None = None) -> Denoiser:
    """A denoiser whose network `backend` runs; the one given stays as it is, and shares what weights it can.

    `Backend.EAGER` is the rule where nothing else is asked for: the folded network in torch, always the same, so that
    equal seeds give equal bytes. `Backend.AUTO` measures, and what is fastest may be another one on another day: its
    results differ from those by rounding, 1e-4 at most.

    Parameters
    ----------
    denoiser : on its device, ready to sample
    backend : which one
    calls : gives some calls of the network to calibrate `Backend.OPENVINO_INT8` on; asked for by that one alone

    Raises
    ------
    ResourceError
        If the backend's packages are missing; it names the extra.
    ConfigError
        If the backend cannot run on this device or processor.
    """
    network = Folded(denoiser.backbone)
    device = next(network.parameters()).device
    if backend in _ON_CPU and device.type != "cpu":
        raise ConfigError(f"backend {backend} runs on the CPU, but the model is on {device}; take --device cpu")
    if backend is Backend.OPENVINO_INT8:
        if calls is None:
            raise ConfigError(f"backend {backend} is calibrated on calls of the network; give some")
        made: nn.Module = int8_network(network, calls)
    elif backend is Backend.AUTO:
        made = automatic(network, _candidates(device))
    else:
        made = BACKENDS[backend](network)
    return denoiser.with_backbone(made)


def _candidates(device: torch.device) -> list[Candidate]:
    """What `Backend.AUTO` chooses among; compiling takes minutes, which is no short measurement."""
    names = [Backend.EAGER, Backend.OPENVINO, Backend.ONNX] if device.type == "cpu" else [Backend.EAGER]
    return [Candidate(name, BACKENDS[name]) for name in names]


_ON_CPU = (Backend.ONNX, Backend.OPENVINO, Backend.OPENVINO_BF16, Backend.OPENVINO_INT8)
BACKENDS: dict[Backend, Callable[[Folded], nn.Module]] = {
    Backend.EAGER: lambda network: network,
    Backend.COMPILE: compiled_network,
    Backend.ONNX: onnx_network,
    Backend.OPENVINO: float32_network,
    Backend.OPENVINO_BF16: bfloat16_network,
    Backend.CUDA: cuda_network,
}
