"""Published checkpoints read into residiff's own model files.

Recognised by their contents, never by their names:

| what                | from                                                                                   |
|---------------------|----------------------------------------------------------------------------------------|
| RDDM `model-<k>.pt` | one U-Net, two, a shared encoder, AOSA's; plain and averaged weights; its own schedule |
| DiffUIR's           | the same U-Net and buffers; its own schedule, which takes away part of x_in too        |
| Resfusion's `.ckpt` | U-Net, DDIM's U-Net or DiT; restoration, with a mask, generation; T must be given      |
| DDPM `model-<k>.pt` | the same U-Net with the buffers of DDPM (denoising-diffusion-pytorch before RMSNorm)   |
| bare weights        | the same networks, in any table of weights; schedule and prediction must be given      |
| diffusers pipelines | `UNet2DModel` with a DDPM or DDIM scheduler: a folder or a hub id                      |

The U-Net's shapes say width, levels and channels; a file never says its groups (8 as published), DiT's heads, nor what
a network predicts: `import_model` notes in the model's card what it took as published.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residiff.adapters.imports import ImportOptions, import_model
    from residiff.adapters.keys import KeyReport, KeysError

__all__ = ["ImportOptions", "KeyReport", "KeysError", "import_model"]

_MODULES = {"ImportOptions": "imports", "import_model": "imports", "KeyReport": "keys", "KeysError": "keys"}


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for: the process that reads pickles checks files without it."""
    if name in _MODULES:
        return getattr(import_module(f"residiff.adapters.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'residiff.adapters' has no attribute {name!r}")
