"""Our U-Nets, under the published parameter names, against the outputs of the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from compare import assert_close, assert_close_absolute
from torch import Tensor

from residiff.nn.unet import SharedEncoderUNet, TwoUNets, UNet

TOLERANCE = 1e-4

Golden = Callable[[str], dict[str, Tensor]]

# file -> (class, the prefix its parameters carry there)
BACKBONES = {
    "rddm_backbone_one_unet": (UNet, "unet0."),
    "rddm_backbone_two_unets": (TwoUNets, ""),
    "rddm_backbone_shared_encoder": (SharedEncoderUNet, ""),
    "rddm_backbone_translation": (TwoUNets, ""),
    "resfusion_backbone_unet": (UNet, ""),
    "resfusion_backbone_unet_mask": (UNet, ""),
}


def strip(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def times(golden: dict[str, Tensor], heads: int) -> tuple[Tensor, ...]:
    if "t_res" in golden:
        return golden["t_res"], golden["t_noise"]
    return (golden["t"].float(),) * heads


def outputs(golden: dict[str, Tensor], name: str) -> list[tuple[Tensor, Tensor]]:
    """Pairs of our output and the golden one."""
    kind, prefix = BACKBONES[name]
    x = torch.cat([golden[key] for key in ("x", "input_cond", "mask_cond") if key in golden], dim=1)
    net = kind(x.shape[1], dim=8, dim_mults=(1, 2))
    net.load_state_dict(strip(golden, f"state_dict/{prefix}"), strict=True)
    with torch.inference_mode():
        actual = net(x, times(golden, net.heads))
    expected = [golden[key] for key in ("out", "out0", "out1") if key in golden]
    return list(zip(actual, expected, strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_gives_the_golden_outputs(golden: Golden, name: str) -> None:
    for actual, expected in outputs(golden(name), name):
        assert_close(actual, expected, TOLERANCE)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_golden_output_shifted_by_a_hundredth_is_noticed(golden: Golden, name: str) -> None:
    for actual, expected in outputs(golden(name), name):
        shifted = expected.clone()
        shifted.view(-1)[17] += 0.01 * expected.abs().max()
        with pytest.raises(AssertionError, match="1 of"):
            assert_close(actual, shifted, TOLERANCE)


@pytest.mark.parametrize("compare", [lambda a, e: assert_close(a, e, TOLERANCE), assert_close_absolute])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_comparison_accepts_equals_and_refuses_a_shift(compare: Callable[..., None], scale: float) -> None:
    expected = torch.linspace(-1, 1, 7, dtype=torch.float64) * scale
    compare(expected.clone(), expected)
    for index in range(len(expected)):
        shifted = expected.clone()
        shifted[index] -= 0.01 * scale
        with pytest.raises(AssertionError, match="1 of 7 values are off"):
            compare(expected, shifted)


@pytest.mark.parametrize("compare", [lambda a, e: assert_close(a, e, TOLERANCE), assert_close_absolute])
def test_comparison_refuses_nan_and_another_shape(compare: Callable[..., None]) -> None:
    expected = torch.ones(2, 3)
    for actual in (torch.full((2, 3), float("nan")), torch.ones(3, 2), torch.ones(1, 3), torch.ones(())):
        with pytest.raises(AssertionError):
            compare(actual, expected)
        with pytest.raises(AssertionError):
            compare(expected, actual)


def test_tolerances_are_as_stated() -> None:
    expected = torch.tensor([0.0, 0.5, 100.0], dtype=torch.float64)
    assert_close(expected + torch.tensor([9e-3, -9e-3, 9e-3]), expected, 1e-4)
    assert_close_absolute(expected + torch.tensor([9e-6, -9e-6, 9e-4]), expected)
    for off in ([1.1e-5, 0, 0], [0, 1.1e-5, 0], [0, 0, 1.1e-3]):
        with pytest.raises(AssertionError, match="1 of 3"):
            assert_close_absolute(expected + torch.tensor(off), expected)


def test_a_missing_golden_file_fails(golden: Golden, golden_folder: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="RESIDIFF_GOLDEN"):
        golden("no_such_file")
    assert golden_folder.is_dir()
