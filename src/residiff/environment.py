"""What residiff runs on, for bug reports and result tables."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

from residiff import __version__
from residiff.plugins import listed

PACKAGES = ("torch", "numpy", "safetensors", "pydantic", "pyvips", "pillow", "typer")


def describe() -> dict[str, str | int]:
    """Versions, devices, cores and memory; no names of files, users or machines."""
    facts: dict[str, str | int] = {"residiff": __version__, "python": platform.python_version()}
    facts |= {name: metadata.version(name) for name in PACKAGES}
    facts |= {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count() or 1}
    facts |= {"threads": torch.get_num_threads(), "memory": f"{_memory() / 2**30:.1f} GiB"}
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    facts |= {"plug-ins": "; ".join(map(str, listed())) or "none"}
    return facts | {"gpus": ", ".join(gpus) or "none", "mps": "yes" if torch.backends.mps.is_available() else "no"}


def _memory() -> float:
    # Windows has no sysconf
    if os.name == "nt":
        return 0.0
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
