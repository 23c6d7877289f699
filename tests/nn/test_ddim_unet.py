"""DDIM's U-Net: its size, where its attention sits, its laws and refusals; its values are in tests/parity."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from residiff.errors import ConfigError
from residiff.nn.ddim_unet import DDIMUNet, Downsample, PixelAttention, ResidualBlock, TimeNetwork, Upsample
from residiff.nn.embedding import sinusoidal


def small(seed: int = 0, *, image_size: int = 8, attention: tuple[int, ...] = (4,), dropout: float = 0.1) -> DDIMUNet:
    """Two channels a group: the least with which every block heeds the time."""
    torch.manual_seed(seed)
    net = DDIMUNet(
        6, width=64, multipliers=(1, 1), blocks=1, attention=attention, image_size=image_size, dropout=dropout
    )
    return net.eval()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def times(*values: float) -> tuple[Tensor, ...]:
    return (torch.tensor(values),)


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def attended(net: DDIMUNet) -> tuple[list[int], list[int]]:
    """The number of attentions of each level down, and of each level up."""
    return [len(level.attn) for level in net.down], [len(level.attn) for level in net.up]


@pytest.mark.parametrize(("in_channels", "parameters"), [(3, 35_746_307), (6, 35_746_307 + 3 * 9 * 128)])
def test_size_of_the_published_net(in_channels: int, parameters: int) -> None:
    with torch.device("meta"):
        net = DDIMUNet(in_channels)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == 328
    assert net.size_multiple == 8
    assert attended(net) == ([0, 2, 0, 0], [0, 3, 0, 0])


@pytest.mark.parametrize(
    ("attention", "down", "up"),
    [((), [0, 0, 0], [0, 0, 0]), ((32, 8), [2, 0, 2], [3, 0, 3]), ((16,), [0, 2, 0], [0, 3, 0])],
)
def test_attention_is_behind_every_block_of_the_levels_named(
    attention: tuple[int, ...], down: list[int], up: list[int]
) -> None:
    with torch.device("meta"):
        net = DDIMUNet(3, width=32, multipliers=(1, 2, 1), attention=attention)
    assert attended(net) == (down, up)


def test_widths_go_down_and_up_as_the_multipliers_say() -> None:
    with torch.device("meta"):
        net = DDIMUNet(3, width=32, multipliers=(2, 1, 3), blocks=2, attention=())
        out = net(torch.empty(1, 3, 12, 4), (torch.empty(1),))[0]
    widths = [[(block.conv1.in_channels, block.conv1.out_channels) for block in level.block] for level in net.down]
    assert widths == [[(32, 64), (64, 64)], [(64, 32), (32, 32)], [(32, 96), (96, 96)]]
    skipped = [[(block.conv1.in_channels, block.conv1.out_channels) for block in level.block] for level in net.up]
    # What comes from below, or from the block before, and its skip.
    assert skipped[2] == [(96 + 96, 96), (96 + 96, 96), (96 + 32, 96)]
    assert skipped[1] == [(96 + 32, 32), (32 + 32, 32), (32 + 64, 32)]
    assert skipped[0] == [(32 + 64, 64), (64 + 64, 64), (64 + 32, 64)]
    assert out.shape == (1, 3, 12, 4)


def test_every_parameter_gets_a_gradient_but_the_bias_of_the_keys() -> None:
    net = small().double()
    net(draw(2, 6, 8, 8).double(), times(3.0, 700.0))[0].square().mean().backward()
    largest = {name: float(p.grad.abs().max()) for name, p in net.named_parameters() if p.grad is not None}
    assert largest.keys() == dict(net.named_parameters()).keys()
    # It adds the same to every logit of a pixel, which softmax does not see.
    keys = {name for name in largest if name.endswith(".k.bias")}
    assert len(keys) == 4
    assert max(largest[name] for name in keys) < 1e-15
    assert min(largest[name] for name in largest.keys() - keys) > 1e-9


def test_a_batch_equals_its_members() -> None:
    net, x = small(), draw(2, 6, 8, 16)
    with torch.inference_mode():
        both = net(x, times(3.0, 700.0))[0]
        singles = net(x[:1], times(3.0))[0], net(x[1:], times(700.0))[0]
    assert relative(both, torch.cat(singles)) < 1e-5


def test_attention_weighs_values_as_the_formula_says() -> None:
    layer, x = PixelAttention(64).double(), 3 * draw(2, 64, 3, 5).double()
    with torch.no_grad():
        for conv in (layer.q, layer.k):
            conv.weight.mul_(3)  # so that the weights are far from even
        normal = F.group_norm(x, 32, layer.norm.weight, layer.norm.bias, 1e-6)
        for one, given, out in zip(normal, x, layer(x), strict=True):
            q, k, v = (conv(one[None]).reshape(64, 15) for conv in (layer.q, layer.k, layer.v))
            logits = q.T @ k / 64**0.5
            weights = logits.exp() / logits.exp().sum(1, keepdim=True)
            assert weights.max() > 0.5
            expected = given + layer.proj_out((v @ weights.T).reshape(1, 64, 3, 5))[0]
            assert torch.allclose(out, expected, atol=1e-9)


def test_attention_runs_in_the_kernel_that_never_holds_all_weights() -> None:
    layer, x = PixelAttention(64), draw(1, 64, 4, 4)
    with torch.inference_mode():
        expected = layer(x)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert torch.equal(layer(x), expected)


def test_downsampling_pads_on_the_right_and_below_alone() -> None:
    layer, x = Downsample(3).double(), draw(2, 3, 6, 4).double()
    with torch.no_grad():
        nn.init.zeros_(layer.conv.bias)
        expected = torch.zeros(2, 3, 3, 2, dtype=torch.float64)
        for i, j, a, b in torch.cartesian_prod(*map(torch.arange, (3, 2, 3, 3))).tolist():
            if 2 * i + a < 6 and 2 * j + b < 4:
                expected[:, :, i, j] += x[:, :, 2 * i + a, 2 * j + b] @ layer.conv.weight[:, :, a, b].T
        assert torch.allclose(layer(x), expected, atol=1e-12)


def test_upsampling_repeats_every_pixel_before_the_convolution() -> None:
    layer, x = Upsample(3).double(), draw(2, 3, 3, 4).double()
    twice = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.allclose(layer(x), layer.conv(twice))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (6, 16), (24, 8)])
def test_other_sizes_run(height: int, width: int) -> None:
    with torch.inference_mode():
        (out,) = small()(draw(2, 6, height, width), times(0.0, 1.5))
    assert out.shape == (2, 3, height, width)
    assert out.isfinite().all()


def test_the_image_size_only_names_the_levels() -> None:
    one, other = small(), small(image_size=32, attention=(16,))
    with torch.inference_mode():
        for side in (8, 12):
            x = draw(1, 6, side, side)
            assert torch.equal(one(x, times(9.0))[0], other(x, times(9.0))[0])


def test_moving_an_image_by_whole_strides_moves_the_result_far_from_the_edges() -> None:
    """Without attention and norms' statistics nothing knows where in the image it is."""
    net = small(attention=())
    net.mid.attn_1 = nn.Identity()
    for norm in [m for m in net.modules() if isinstance(m, nn.GroupNorm)]:
        norm.forward = lambda x: x  # type: ignore[method-assign]
    x = torch.zeros(1, 6, 56, 56)
    x[:, :, 26:30, 26:30] = draw(1, 6, 4, 4)
    with torch.inference_mode():
        still, moved = net(x, times(5.0))[0], net(x.roll((2, -4), (2, 3)), times(5.0))[0]
    inner = (..., slice(22, 34), slice(22, 34))
    assert relative(moved.roll((-2, 4), (2, 3))[inner], still[inner]) < 1e-5


def test_the_output_depends_on_the_time() -> None:
    net, x = small(), draw(1, 6, 8, 8)
    with torch.inference_mode():
        assert relative(net(x, times(1.0))[0], net(x, times(800.0))[0]) > 1e-3


def test_a_block_with_one_channel_a_group_is_blind_to_the_time() -> None:
    time = 3 * draw(2, 16)
    for width, blind in ((32, True), (64, False)):
        torch.manual_seed(0)
        block, x = ResidualBlock(width, width, 16, 0.0).double(), draw(1, width, 4, 4).double()
        with torch.no_grad():
            one, other = (block(x, t[None].double()) for t in time)
        assert (relative(one, other) < 1e-6) is blind


def test_a_block_with_its_last_weights_at_zero_is_its_shortcut() -> None:
    block, x = ResidualBlock(32, 64, 16, 0.1), draw(2, 32, 4, 4)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    assert torch.equal(block(x, draw(2, 16)), block.nin_shortcut(x))
    assert block.nin_shortcut.weight.shape == (64, 32, 1, 1)
    assert isinstance(ResidualBlock(32, 32, 16, 0.1).nin_shortcut, nn.Identity)


def test_dropout_acts_in_training_alone() -> None:
    net, x = small(dropout=0.5), draw(1, 6, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x, times(5.0))[0], net(x, times(5.0))[0])
        evaluated = net(x, times(5.0))[0]
        assert not torch.equal(net.train()(x, times(5.0))[0], net(x, times(5.0))[0])
        without = small(dropout=0.0).train()
        assert torch.equal(without(x, times(5.0))[0], evaluated)


def test_the_time_is_rounded_only_once_embedded() -> None:
    network, t = TimeNetwork(64), torch.tensor([998.0, 999.0])
    embedded: list[Tensor] = []
    network.dense[0].register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
    network.bfloat16()(t, torch.bfloat16)
    assert torch.equal(embedded[0], sinusoidal(t, 64).bfloat16())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
def test_other_precisions_agree_with_single(dtype: torch.dtype, tolerance: float) -> None:
    net, x = small(), draw(1, 6, 8, 8)
    with torch.inference_mode():
        single = net(x, times(321.5))[0]
        other = net.to(dtype)(x.to(dtype), times(321.5))[0]
    assert other.dtype == dtype
    assert relative(other.double(), single.double()) < tolerance


@pytest.mark.parametrize(("height", "width"), [(9, 8), (8, 7), (1, 2)])
def test_a_size_that_does_not_divide_is_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"multiples of 2, not {height} x {width}"):
        small()(draw(1, 6, height, width), times(1.0))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (6, 6, 8)])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"(N, 6, H, W), not {shape}")):
        small()(draw(*shape), times(1.0))


@pytest.mark.parametrize("bad", [(), times(1.0, 2.0, 3.0), (*times(1.0, 2.0), *times(1.0, 2.0)), (torch.ones(2, 1),)])
def test_times_that_do_not_fit_are_refused(bad: tuple[Tensor, ...]) -> None:
    with pytest.raises(ConfigError, match=r"takes 1 tensors of times of shape \(2,\)"):
        small()(draw(2, 6, 8, 8), bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 48}, "width must be a multiple of the 32 groups of each norm, not 48"),
        ({"width": 0}, "not 0"),
        ({"multipliers": ()}, re.escape("not ()")),
        ({"multipliers": (1, 0)}, re.escape("not (1, 0)")),
        ({"blocks": 0}, "blocks of a level is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"image_size": 30}, "image_size 30 must be a positive multiple of 8"),
        ({"image_size": 0}, "image_size 0 must be a positive multiple of 8"),
        ({"attention": (16, 15)}, re.escape("(16, 15), but the sizes of the levels are (32, 16, 8, 4)")),
    ],
)
def test_a_net_that_cannot_be_built_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        DDIMUNet(3, **change)
