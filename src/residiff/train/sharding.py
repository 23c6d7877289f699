"""Weights, gradients and optimiser spread over the processes, each holding a part of every tensor.

A network is spread as it is built, within `sharding`, and by `shard` when it has been: no process ever holds the whole
of it. It is called as ever, by all processes, and its gradients are the mean of theirs. What is made of its parameters
(optimiser, running averages) is sharded as they are; make it afterwards. `gathered` and `like` go between the parts and
what files hold, a tensor at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_module_registration_hook

from residiff.errors import ConfigError
from residiff.nn import blocks, is_block
from residiff.tensorfile import on_cpu, order


@contextlib.contextmanager
def sharding(device: torch.device) -> Iterator[None]:
    """Within it, each repeated block is spread over the processes' `device`s as it becomes part of a network.

    All processes must build equal weights. `ConfigError` if the processes have not been joined.
    """
    mesh = _mesh(device)

    def spread(_parent: nn.Module, _name: str, part: nn.Module | None) -> None:
        if part is not None and is_block(part):
            _spread(part, mesh)

    handle = register_module_module_registration_hook(spread)
    try:
        yield
    finally:
        handle.remove()


def shard(backbone: nn.Module, device: torch.device) -> None:
    """Spread `backbone` over the processes, in place: those of its repeated blocks that are not yet, then the rest.

    Each block is gathered as it runs. Names of the weights stay; the parameters are new objects, and the buffers stay
    whole. All processes must hold equal weights, and must call the network equally often. Weights are laid out
    contiguously, since torch shards no others.

    Raises
    ------
    ConfigError
        If the processes have not been joined, or the blocks of `backbone` are not known.
    """
    mesh = _mesh(device)
    parts = blocks(backbone)
    backbone.register_forward_hook(_own)
    for part in (*parts, backbone):
        _spread(part, mesh)


def _mesh(device: torch.device) -> DeviceMesh:
    if not dist.is_initialized():
        raise ConfigError(
            "no processes to share the weights are joined; start by torchrun, or leave training.sharded out"
        )
    # Left to itself, torch takes the machine's accelerator even where the network is on the CPU
    return init_device_mesh(device.type, (dist.get_world_size(),))


def _spread(part: nn.Module, mesh: DeviceMesh) -> None:
    if isinstance(part, FSDPModule):
        return
    originals = [value for value in part.parameters() if not isinstance(value, DTensor)]
    for value in originals:
        value.data = value.data.contiguous()
    fully_shard(part, mesh=mesh)
    # Of which the parts are copies; torch leaves the whole in cycles that are collected some time
    for value in originals:
        value.untyped_storage().resize_(0)


def _own(_network: nn.Module, _inputs: object, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The outputs, none a view: torch hangs the gathering of the backward pass on them, and a view could lose it."""
    return tuple(output.clone() for output in outputs)


def reshard(backbone: nn.Module) -> None:
    """Let go of what a sharded network has gathered; after a call without gradients it holds some of it still."""
    for part in backbone.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def whole(tensor: Tensor) -> Tensor:
    """The full tensor of which `tensor` is this process's part, or `tensor` itself where it is no part.

    All processes must call it, in the same order.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """On the first process's CPU the full tensor of which `tensor` is a part; the others give theirs, and get nothing.

    What is no part is itself, on the CPU. All processes must call it, in the same order.
    """
    if not isinstance(tensor, DTensor):
        return on_cpu(tensor)
    own = local(tensor).detach().contiguous()
    if dist.get_rank():
        if own.numel():
            dist.send(own, 0)
        return torch.empty(0, dtype=own.dtype)
    full = torch.empty(tensor.shape, dtype=own.dtype)
    first, *others = full.chunk(dist.get_world_size())
    first.copy_(own)
    for rank, part in enumerate(others, 1):
        received = part if own.device.type == "cpu" else torch.empty_like(part, device=own.device)
        dist.recv(received, rank)
        part.copy_(received)
    return full


def hand_over(tensors: Mapping[str, Tensor]) -> None:
    """Give this process's parts to the first one, which writes a file of `tensors` with `gathered` to fetch them."""
    parts = [name for name, tensor in tensors.items() if isinstance(tensor, DTensor)]
    for name in order(tensors) if parts else ():
        gathered(tensors[name])


def like(value: Tensor, shard: Tensor) -> Tensor:
    """A copy of the part of the full tensor `value` that `shard` holds, on its device.

    `value` itself if `shard` is no part, or if it is one already.
    """
    if isinstance(value, DTensor) or not isinstance(shard, DTensor):
        return value
    pieces = value.detach().contiguous().chunk(dist.get_world_size())
    rank = dist.get_rank()
    own = pieces[rank] if rank < len(pieces) else pieces[0][:0]
    # A copy, for the part would keep the full tensor alive
    part = own.to(shard.device, copy=True)
    return DTensor.from_local(
        part, shard.device_mesh, shard.placements, run_check=False, shape=value.shape, stride=shard.stride()
    )


def local(value: Tensor) -> Tensor:
    """What of a tensor this process holds: of one that is not sharded, itself."""
    return value.to_local() if isinstance(value, DTensor) else value
