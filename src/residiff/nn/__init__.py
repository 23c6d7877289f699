"""Backbones, one a file, and the settings that name them in a recipe."""

from residiff.nn.checkpointing import blocks, checkpoint_blocks, is_block
from residiff.nn.fused import FOLDS
from residiff.nn.local import Whole, Window, given_whole, localised, look, sees_the_whole
from residiff.nn.settings import AnyBackbone, DDIMUNetSettings, DiTSettings, NAFNetSettings, UNetSettings

__all__ = [
    "FOLDS",
    "AnyBackbone",
    "DDIMUNetSettings",
    "DiTSettings",
    "NAFNetSettings",
    "UNetSettings",
    "Whole",
    "Window",
    "blocks",
    "checkpoint_blocks",
    "is_block",
    "given_whole",
    "localised",
    "look",
    "sees_the_whole",
]
