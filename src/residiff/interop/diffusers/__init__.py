"""residiff's models as a diffusers user knows them: schedulers, a network and a pipeline, in diffusers' folder layout.

    from residiff.interop.diffusers import ResidualDiffusionPipeline
    pipe = ResidualDiffusionPipeline.from_model("denoise")
    pipe.save_pretrained("denoise-diffusers")

The mathematics is `residiff.schedule`, `residiff.prediction` and `residiff.sample`; nothing of it is repeated here.
"""

from __future__ import annotations

from residiff.errors import ResourceError

try:
    import diffusers as _installed  # noqa: F401
except ImportError as error:
    raise ResourceError('diffusers is not installed; pip install "residiff[diffusers]"') from error

from residiff.interop.diffusers.network import ResidualDiffusionModel, ResidualDiffusionModelOutput
from residiff.interop.diffusers.pipeline import ResidualDiffusionPipeline
from residiff.interop.diffusers.schedulers import (
    RDDMScheduler,
    ResfusionScheduler,
    ResidualScheduler,
    ResidualSchedulerOutput,
)

__all__ = [
    "RDDMScheduler",
    "ResfusionScheduler",
    "ResidualDiffusionModel",
    "ResidualDiffusionModelOutput",
    "ResidualDiffusionPipeline",
    "ResidualScheduler",
    "ResidualSchedulerOutput",
]
