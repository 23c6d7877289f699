"""residiff: residual diffusion models for images. Restore, generate and translate in a few steps.

For example:

    import residiff
    restorer = residiff.load("low-light")
    result = restorer(image, steps=5, seed=0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from residiff.version import VERSION

if TYPE_CHECKING:
    from residiff.restore import Descriptor, Restorer, load

__version__ = VERSION
__all__ = ["Descriptor", "Restorer", "__version__", "load"]


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for, so that the command line answers at once."""
    if name in ("Descriptor", "Restorer", "load"):
        return getattr(import_module("residiff.restore"), name)
    raise AttributeError(f"module 'residiff' has no attribute {name!r}")
