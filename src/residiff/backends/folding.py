"""Networks for inference: what need not be computed again at each call is folded into the weights.

    standardised filters          are made once
    a gain before 1x1 convolutions, scales after them   join their weights
    the time's scale, shift, gate join a normalisation or a projection, one row for a batch at one time
    linear attention              is three matrix products on the pixels as channels-last memory has them

The result is that of the network but for rounding; the weights it was made of stay as they are, and what is not folded
is shared with them. `nn.fused` has the layers.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor, nn

from residiff.nn import FOLDS


@final
class Folded(nn.Module):
    """A network folded for inference; (N, C, H, W) and one (N,) or (1,) time a head, as the one that it was made of.

    Where the times are one value in memory (`Tensor.expand`), it is embedded once for the batch. A network that is
    folded already is taken as it is with `fold` false.
    """

    def __init__(self, network: nn.Module, fold: bool = True) -> None:
        super().__init__()
        self.network = folded(network) if fold else network
        self.size_multiple = int(network.size_multiple)  # type: ignore[arg-type]
        self.in_channels = int(network.in_channels)  # type: ignore[arg-type]
        self.heads = int(network.heads)  # type: ignore[arg-type]

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run the network."""
        result: tuple[Tensor, ...] = self.network(x.contiguous(memory_format=torch.channels_last), one_row(times))
        return result


def one_row(times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The times, (1,) each where every one of them is the same value in memory throughout."""
    same = all(t.ndim == 1 and (len(t) == 1 or t.stride(0) == 0) for t in times)
    return tuple(t[:1] for t in times) if same else times


def folded(network: nn.Module) -> nn.Module:
    """A copy of `network`, channels-last, whose foldable layers are folded; any network may be given.

    Only what is folded, or was not channels-last, takes memory again.
    """
    shared = {id(each): each for each in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, shared).eval()
    _fold(copied)
    for layer in copied.modules():
        for name, value in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(_channels_last(value.detach()), requires_grad=False))
    return copied


def _fold(parent: nn.Module) -> None:
    for name, layer in list(parent.named_children()):
        if type(layer) in FOLDS:
            setattr(parent, name, FOLDS[type(layer)](layer))
        else:
            _fold(layer)


def _channels_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
