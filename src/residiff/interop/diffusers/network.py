"""`ResidualDiffusionModel`: any backbone of residiff as a diffusers model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.recipe import BackboneTable, built

_BACKBONE: TypeAdapter[BackboneTable] = TypeAdapter(BackboneTable, config=ConfigDict(extra="forbid"))
_DEFAULT = {"kind": "nafnet"}


@dataclass
class ResidualDiffusionModelOutput(BaseOutput):  # type: ignore[misc]
    """What the network gives: `sample`, (N, heads out_channels, H, W), one head's channels after the other's."""

    sample: Tensor


@final
class ResidualDiffusionModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A backbone of residiff by the settings that name it in a recipe.

    Parameters
    ----------
    backbone : its `kind` ("nafnet", "unet", "ddim-unet", "dit", or a plug-in's) and settings
    in_channels : of x_t, x_in and an encoded mask, one after the other
    out_channels : of each head
    heads : how many things it predicts, 1 or 2
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] = _DEFAULT,
        in_channels: int = 6,
        out_channels: int = 3,
        heads: int = 1,
    ) -> None:
        super().__init__()
        try:
            settings = _BACKBONE.validate_python(dict(backbone))
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ConfigError(f"backbone: {told}") from error
        self.net = built(settings, in_channels, heads, out_channels)
        self.size_multiple = int(self.net.size_multiple)  # type: ignore[arg-type]

    def forward(
        self,
        sample: Tensor,
        timestep: float | Tensor | Sequence[float | Tensor],
        return_dict: bool = True,
    ) -> ResidualDiffusionModelOutput | tuple[Tensor]:
        """Run the network.

        Parameters
        ----------
        sample : (N, in_channels, H, W), H and W multiples of `size_multiple`
        timestep : what every head is told of the time, a number or (N,); or one of these for each head
        return_dict : whether an output with names is returned, or a tuple
        """
        heads: int = self.config.heads
        each = list(timestep) if isinstance(timestep, (list, tuple)) else [timestep] * heads
        flat = (torch.as_tensor(t, device=sample.device, dtype=torch.float32).reshape(-1) for t in each)
        # Times are told in float32, whatever the weights are
        with torch.autocast(sample.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.net(sample, tuple(t.expand(len(sample)) for t in flat))
        found = ResidualDiffusionModelOutput(torch.cat(outputs, dim=1))
        return found if return_dict else found.to_tuple()


@final
class Heads(nn.Module):
    """A `ResidualDiffusionModel` as `Denoiser` calls its backbone: a tensor (N, C, H, W) for each head."""

    def __init__(self, network: ResidualDiffusionModel) -> None:
        super().__init__()
        self.network = network
        self.size_multiple = network.size_multiple

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run the network on `x` (N, in_channels, H, W), told a time (N,) for each head."""
        sample: Tensor = self.network(x.to(self.network.dtype), times).sample
        return sample.chunk(self.network.config.heads, dim=1)
