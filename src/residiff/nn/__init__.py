"""Backbones, one a file, and the settings that name them in a recipe."""

from residiff.nn.checkpointing import blocks, checkpoint_blocks, is_block
from residiff.nn.settings import AnyBackbone, DDIMUNetSettings, DiTSettings, NAFNetSettings, UNetSettings

__all__ = [
    "AnyBackbone",
    "DDIMUNetSettings",
    "DiTSettings",
    "NAFNetSettings",
    "UNetSettings",
    "blocks",
    "checkpoint_blocks",
    "is_block",
]
