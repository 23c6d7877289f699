"""DDIM's U-Net and the transformer, under the published parameter names, against the published ones' outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from compare import assert_close
from torch import Tensor

from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.dit import DiT, position_embedding

TOLERANCE = 1e-4

Golden = Callable[[str], dict[str, Tensor]]
Net = DDIMUNet | DiT


def ddim_unet(in_channels: int) -> Net:
    return DDIMUNet(in_channels, width=32, multipliers=(1, 2), blocks=1, attention=(8,), image_size=16)


def dit(in_channels: int) -> Net:
    return DiT(in_channels, patch=4, width=48, depth=2, heads=3, input_size=16)


BACKBONES = {"resfusion_backbone_ddim_unet": ddim_unet, "resfusion_backbone_dit": dit}


def loaded(golden: dict[str, Tensor], name: str) -> tuple[Net, Tensor]:
    """The net with the golden weights, and its input."""
    x = torch.cat([golden[key] for key in ("x", "input_cond") if key in golden], dim=1)
    net = BACKBONES[name](x.shape[1]).eval()
    prefix = "state_dict/"
    weights = {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}
    net.load_state_dict(weights, strict=True)
    return net, x


def output(golden: dict[str, Tensor], name: str) -> Tensor:
    net, x = loaded(golden, name)
    with torch.inference_mode():
        return net(x, (golden["t"].float(),))[0]


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_gives_the_golden_output(golden: Golden, name: str) -> None:
    arrays = golden(name)
    assert_close(output(arrays, name), arrays["out"], TOLERANCE)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_golden_output_shifted_by_a_hundredth_is_noticed(golden: Golden, name: str) -> None:
    arrays = golden(name)
    shifted = arrays["out"].clone()
    shifted.view(-1)[17] += 0.01 * shifted.abs().max()
    with pytest.raises(AssertionError, match="1 of"):
        assert_close(output(arrays, name), shifted, TOLERANCE)


def test_positions_are_the_published_ones(golden: Golden) -> None:
    stored = golden("resfusion_backbone_dit")["state_dict/pos_embed"]
    assert_close(position_embedding(4, 4, 48, 4), stored, 1e-6)
