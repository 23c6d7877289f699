"""Weights, gradients and optimiser spread over the processes, each holding a part of every tensor.

A sharded network is called as ever, by all processes, and its gradients are the mean of theirs. What is made of its
parameters (optimiser, running averages) is sharded as they are; make it afterwards. `whole` and `like` go between the
parts and what files hold.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from residiff.errors import ConfigError
from residiff.nn import blocks


def shard(backbone: nn.Module) -> None:
    """Spread `backbone` over the processes, in place: its repeated blocks, each gathered as it runs, then the rest.

    Names of the weights stay; the parameters are new objects, and the buffers stay whole. All processes must hold equal
    weights, and must call the network equally often. Weights are laid out contiguously, since torch shards no others.

    Raises
    ------
    ConfigError
        If the processes have not been joined, or the blocks of `backbone` are not known.
    """
    if not dist.is_initialized():
        raise ConfigError(
            "no processes to share the weights are joined; start by torchrun, or leave training.sharded out"
        )
    parts = blocks(backbone)
    device = next(backbone.parameters()).device.type
    # Left to itself, torch takes the machine's accelerator even where the network is on the CPU
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    backbone.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    backbone.register_forward_hook(_own)
    for part in (*parts, backbone):
        fully_shard(part, mesh=mesh)


def _own(_network: nn.Module, _inputs: object, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The outputs, none a view: torch hangs the gathering of the backward pass on them, and a view could lose it."""
    return tuple(output.clone() for output in outputs)


def whole(tensor: Tensor) -> Tensor:
    """The full tensor of which `tensor` is this process's part, or `tensor` itself where it is no part.

    All processes must call it, in the same order.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(value: Tensor, shard: Tensor) -> Tensor:
    """A copy of the part of the full tensor `value` that `shard` holds, on its device; `value` if it is no part."""
    if not isinstance(shard, DTensor):
        return value
    held = value.detach().to(shard.device)
    # A copy, for the part would keep the full tensor alive
    return distribute_tensor(held, shard.device_mesh, shard.placements, src_data_rank=None).clone()
