"""torch's own compiler, and graphics cards.

On a card the network runs in bfloat16, or float16 where the card has no bfloat16, channels-last, compiled for each
shape, and recorded as a CUDA graph, which starts all of its kernels at once.
"""

from __future__ import annotations

import shutil

import torch
from torch import Tensor

from residiff.backends.folding import Folded
from residiff.backends.kinds import Backend, Prepared, Run
from residiff.errors import ConfigError, ResourceError

_COMPILERS = ("c++", "g++", "clang++", "cl")


def compiled_network(network: Folded) -> Prepared:
    """The network compiled by torch, on any device; `ResourceError` where there is no C++ compiler for the CPU's."""
    if not any(shutil.which(name) for name in _COMPILERS):
        raise ResourceError("torch compiles by a C++ compiler, and there is none; install g++, or take another backend")
    return Prepared(network, torch.compile(network, dynamic=True))


def cuda_network(network: Folded) -> Prepared:
    """The network in half precision, compiled, as a CUDA graph; `ConfigError` where its weights are on no card."""
    device = next(network.parameters()).device
    if device.type != "cuda":
        raise ConfigError(f"backend {Backend.CUDA} needs a graphics card, but the model is on {device}; take --device")
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return half_network(network, dtype, torch.compile(network, mode="reduce-overhead", dynamic=False))


def half_network(network: Folded, dtype: torch.dtype, run: Run) -> Prepared:
    """The network as `run` has it, with products and convolutions in `dtype`, and float32 results of their own."""
    device = next(network.parameters()).device

    def called(x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # What a graph gives lies where its next call will write
        with torch.autocast(device.type, dtype):
            return tuple(each.float().clone() for each in run(x, times))

    return Prepared(network, called)
