"""Gradient checkpointing: activations of a network's repeated blocks are computed twice, to hold fewer of them.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from residiff.errors import ConfigError
from residiff.nn import ddim_unet, dit, nafnet, unet


def checkpoint_blocks(backbone: nn.Module) -> None:
    """Let each repeated block of `backbone` keep its inputs alone, and compute the rest again in the backward pass.

    The gradients stay what they were, and so do the names of the weights. It is done in training where gradients are
    wanted, and nowhere else. Dropout draws the same numbers twice. Call it once, before `shard`.

    Raises
    ------
    ConfigError
        If `backbone` is no row of `BLOCKS`.
    """
    for block in blocks(backbone):
        block.forward = partial(_recomputed, block, block.forward)


def blocks(backbone: nn.Module) -> tuple[nn.Module, ...]:
    """The repeated blocks of `backbone`, none within another; `ConfigError` if it is no row of `BLOCKS`."""
    try:
        kinds = BLOCKS[type(backbone)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in BLOCKS)
        name = type(backbone).__name__
        raise ConfigError(f"the blocks of {name} are not known; known are those of {known}") from None
    return tuple(module for module in backbone.modules() if isinstance(module, kinds))


def is_block(module: nn.Module) -> bool:
    """Whether `module` is a repeated block of a backbone of ours."""
    return isinstance(module, tuple(kind for kinds in BLOCKS.values() for kind in kinds))


def _recomputed(block: nn.Module, run: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    if not (block.training and torch.is_grad_enabled()):
        return run(*inputs)
    out: Tensor = checkpoint(run, *inputs, use_reentrant=False)
    return out


_UNET = (unet.ResidualBlock, unet.Skip)
BLOCKS: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nafnet.NAFNet: (nafnet.Block,),
    unet.UNet: _UNET,
    unet.TwoUNets: _UNET,
    unet.SharedEncoderUNet: _UNET,
    ddim_unet.DDIMUNet: (ddim_unet.ResidualBlock, ddim_unet.PixelAttention),
    dit.DiT: (dit.Block,),
}
