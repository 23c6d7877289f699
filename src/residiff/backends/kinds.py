"""The names of the backends, what they need, and the network that one of them runs."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from enum import StrEnum
from types import ModuleType
from typing import final

import torch
from torch import Tensor, nn

from residiff.backends.folding import Folded, one_row
from residiff.errors import ResourceError

Outputs = tuple[Tensor, ...]
Run = Callable[[Tensor, tuple[Tensor, ...]], Outputs]
# One call of a network: x (N, in_channels, H, W), and one (N,) or (1,) time a head
Call = tuple[Tensor, tuple[Tensor, ...]]


class Backend(StrEnum):
    """What runs a network. The rows of `preparing.BACKENDS` say how; bf16, int8 and cuda change results visibly to us.

    `AUTO` is what is fastest here of those that do not.
    """

    AUTO = "auto"
    EAGER = "eager"
    COMPILE = "compile"
    ONNX = "onnx"
    OPENVINO = "openvino"
    OPENVINO_BF16 = "openvino-bf16"
    OPENVINO_INT8 = "openvino-int8"
    CUDA = "cuda"


@final
class Prepared(nn.Module):
    """A network as a backend runs it: the folded one that torch has, and `run`, which stands for it.

    Images with times of their own are run one by one where `run` takes one time a head, (1,), and no more.
    A copy of it is torch's network: layers can be replaced there, as work in parts does.
    """

    def __init__(self, network: Folded, run: Run) -> None:
        super().__init__()
        self.network = network
        self.size_multiple, self.in_channels, self.heads = network.size_multiple, network.in_channels, network.heads
        self._run = run

    def __deepcopy__(self, memo: dict[int, object]) -> Folded:
        """The folded network alone."""
        return copy.deepcopy(self.network, memo)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> Outputs:
        """(N, in_channels, H, W) and one (N,) or (1,) time a head -> one (N, C, H, W) tensor a head."""
        rows = one_row(times)
        if all(len(t) == 1 for t in rows):
            return self._run(x, rows)
        every = [self._run(x[place : place + 1], tuple(t[place : place + 1] for t in times)) for place in range(len(x))]
        return tuple(torch.cat(parts) for parts in zip(*every, strict=True))


def needed(module: str, extra: str) -> ModuleType:
    """Import an optional package; a `ResourceError` that names its extra where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ResourceError(f'this backend needs {name}; run `pip install "residiff[{extra}]"`') from error
