"""The U-Net's size, its symmetries and its refusals; its values are tested in tests/parity."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.nn.embedding import sinusoidal
from residiff.nn.unet import (
    ChannelNorm,
    FullAttention,
    LinearAttention,
    ResidualBlock,
    SharedEncoderUNet,
    StandardisedConv,
    TwoUNets,
    UNet,
)

KINDS = [UNet, TwoUNets, SharedEncoderUNet]
Net = UNet | TwoUNets | SharedEncoderUNet


def small(kind: type[Net], seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return kind(6, dim=16, dim_mults=(1, 2))


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def times(net: Net, *values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(values) + 10 * head for head in range(net.heads))


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("kind", "in_channels", "parameters", "keys"),
    [
        (UNet, 6, 36_261_187, 276),
        (UNet, 8, 36_267_459, 276),
        (UNet, 3, 36_251_779, 276),
        (TwoUNets, 6, 72_522_374, 552),
        (SharedEncoderUNet, 6, 51_980_614, 396),
    ],
)
def test_size_of_the_published_nets(kind: type[Net], in_channels: int, parameters: int, keys: int) -> None:
    with torch.device("meta"):
        net = kind(in_channels)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == keys
    assert net.size_multiple == 8


def test_key_names_of_two_nets_are_those_of_one_behind_a_prefix() -> None:
    one, two = set(small(UNet).state_dict()), set(small(TwoUNets).state_dict())
    assert two == {f"unet{i}.{key}" for i in range(2) for key in one}
    assert {"init_conv.weight", "time_mlp.1.weight", "downs.0.0.mlp.1.weight", "ups.0.3.1.bias", "ups.1.3.bias"} <= one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(8, 12), (6, 2)])
def test_one_output_per_head_at_the_size_of_the_input(kind: type[Net], size: tuple[int, int]) -> None:
    net = kind(5, out_channels=2, dim=8, dim_mults=(1, 2))
    with torch.inference_mode():
        out = net(draw(3, 5, *size), times(net, 0.0, 1.5, 999.0))
    assert [o.shape for o in out] == [(3, 2, *size)] * kind.heads
    assert all(o.isfinite().all() for o in out)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: type[Net]) -> None:
    net = small(kind)
    sum(o.square().mean() for o in net(draw(2, 6, 8, 8), times(net, 3.0, 700.0))).backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_members(kind: type[Net]) -> None:
    net, x = small(kind), draw(2, 6, 8, 16)
    with torch.inference_mode():
        both = net(x, times(net, 3.0, 700.0))
        singles = net(x[:1], times(net, 3.0)), net(x[1:], times(net, 700.0))
    for head, out in enumerate(both):
        assert relative(out, torch.cat([single[head] for single in singles])) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_offset_of_each_filter_do_not_matter(kind: type[Net]) -> None:
    net, x = small(kind), draw(1, 6, 8, 8)
    filters = [m for m in net.modules() if isinstance(m, StandardisedConv)]
    with torch.no_grad():
        # Far above the epsilon of the standardisation, which would otherwise show.
        for conv in filters:
            conv.weight.mul_(100)
        before = net(x, times(net, 400.0))
        for seed, conv in enumerate(filters):
            shape = (conv.out_channels, 1, 1, 1)
            conv.weight.mul_(1 + draw(*shape, seed=seed).abs()).add_(draw(*shape, seed=seed + 500))
        after = net(x, times(net, 400.0))
    assert max(relative(a, b) for a, b in zip(after, before, strict=True)) < 1e-4


def test_standardised_filters_have_mean_zero_and_variance_one() -> None:
    conv = StandardisedConv(4, 5)
    nn.init.normal_(conv.weight, 3.0, 2.0, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(conv.bias)
    centre = torch.zeros(36, 4, 5, 5)
    for tap in range(36):  # one impulse per tap reads the filters back
        centre[tap, tap // 9, 1 + tap % 9 // 3, 1 + tap % 3] = 1
    taps = conv(centre)[:, :, 2, 2]
    assert torch.allclose(taps.mean(0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(taps.var(0, correction=0), torch.ones(5), atol=1e-4)


def test_channel_norm_gives_every_pixel_mean_zero_and_the_gain_as_deviation() -> None:
    norm = ChannelNorm(16)
    x = 5 * draw(2, 16, 3, 4) + 7
    out = norm(x)
    assert torch.allclose(out.mean(1), torch.zeros(2, 3, 4), atol=1e-5)
    assert torch.allclose(out.var(1, correction=0), torch.ones(2, 3, 4), atol=1e-4)
    nn.init.constant_(norm.g, 3.0)
    assert torch.allclose(norm(x), 3 * out)


def test_linear_attention_weighs_values_as_the_formula_says() -> None:
    layer, x = LinearAttention(6).double(), draw(1, 6, 3, 5).double()
    with torch.no_grad():
        q, k, v = layer.to_qkv(x).reshape(3, 4, 32, 15)
        heads = [(v[h] / 15) @ k[h].softmax(1).T @ (q[h].softmax(0) / 32**0.5) for h in range(4)]
        expected = layer.to_out(torch.stack(heads).reshape(1, 128, 3, 5))
        assert torch.allclose(layer(x), expected, atol=1e-9)


def test_full_attention_weighs_values_as_the_formula_says() -> None:
    layer, x = FullAttention(6).double(), 3 * draw(1, 6, 3, 5).double()
    with torch.no_grad():
        q, k, v = layer.to_qkv(x).reshape(3, 4, 32, 15)
        heads = [v[h] @ (q[h].T @ k[h] / 32**0.5).softmax(1).T for h in range(4)]
        expected = layer.to_out(torch.stack(heads).reshape(1, 128, 3, 5))
        assert torch.allclose(layer(x), expected, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_depends_on_the_time(kind: type[Net]) -> None:
    net, x = small(kind), draw(1, 6, 8, 8)
    with torch.inference_mode():
        early, late = net(x, times(net, 1.0)), net(x, times(net, 800.0))
    assert all(relative(a, b) > 1e-3 for a, b in zip(early, late, strict=True))


def test_each_of_two_nets_has_its_own_time() -> None:
    net, x = small(TwoUNets), draw(1, 6, 8, 8)
    t, s = torch.tensor([3.0]), torch.tensor([600.0])
    with torch.inference_mode():
        both, first, second = net(x, (t, s)), net.unet0(x, (t,)), net.unet1(x, (s,))
    assert torch.equal(both[0], first[0])
    assert torch.equal(both[1], second[0])


def test_second_time_of_a_shared_encoder_reaches_the_second_output_alone() -> None:
    net, x = small(SharedEncoderUNet), draw(1, 6, 8, 8)
    t, s = torch.tensor([3.0]), torch.tensor([600.0])
    with torch.inference_mode():
        same, other = net(x, (t, t)), net(x, (t, s))
    assert torch.equal(same[0], other[0])
    assert relative(other[1], same[1]) > 1e-3


def test_double_precision_agrees_with_single() -> None:
    net, x = small(UNet), draw(1, 6, 8, 8)
    t = torch.tensor([321.5])
    with torch.inference_mode():
        single = net(x, (t,))[0]
        double = net.double()(x.double(), (t,))[0]
    assert double.dtype == torch.float64
    assert relative(single.double(), double) < 1e-5


def test_bfloat16_stays_near_single_precision_and_rounds_the_time_only_once_embedded() -> None:
    net, x = small(UNet), draw(1, 6, 8, 8)
    t = torch.tensor([998.5])
    embedded: list[Tensor] = []
    with torch.inference_mode():
        single = net(x, (t,))[0]
        net.time_mlp.register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
        half = net.bfloat16()(x.bfloat16(), (t,))[0]
    assert half.dtype == torch.bfloat16
    assert relative(half.float(), single) < 0.1
    assert torch.equal(embedded[0], sinusoidal(t, 16).bfloat16())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(9, 8), (8, 7), (1, 2)])
def test_a_size_that_does_not_divide_is_refused(kind: type[Net], height: int, width: int) -> None:
    net = small(kind)
    with pytest.raises(ConfigError, match=f"multiples of 2, not {height} x {width}"):
        net(draw(1, 6, height, width), times(net, 1.0))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (6, 6, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_input_of_another_shape_is_refused(kind: type[Net], shape: tuple[int, ...]) -> None:
    net = small(kind)
    with pytest.raises(ConfigError, match=re.escape(f"(N, 6, H, W), not {shape}")):
        net(draw(*shape), times(net, 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_times_that_do_not_fit_are_refused(kind: type[Net]) -> None:
    net, x = small(kind), draw(2, 6, 8, 8)
    good = times(net, 1.0, 2.0)
    three, columns = times(net, 1.0, 2.0, 3.0), (good[0][:, None],) * net.heads
    for bad in ((), (*good, good[0]), (*good[1:], torch.tensor(1.0)), three, columns):
        with pytest.raises(ConfigError, match=rf"takes {net.heads} tensors of times of shape \(2,\)"):
            net(x, bad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dim", "mults", "groups"), [(12, (1,), 8), (3, (1,), 3), (2, (1,), 2), (16, (), 8), (16, (1, 0), 8), (16, (1,), 0)]
)
def test_widths_that_cannot_be_built_are_refused(
    kind: type[Net], dim: int, mults: tuple[int, ...], groups: int
) -> None:
    with pytest.raises(ConfigError, match="dim"):
        kind(6, dim=dim, dim_mults=mults, groups=groups)


def test_a_block_with_its_weights_at_zero_is_its_shortcut() -> None:
    block, x = ResidualBlock(8, 8, 16, 8), draw(2, 8, 4, 4)
    nn.init.zeros_(block.block2.norm.weight)
    assert torch.equal(block(x, draw(2, 16)), x)


def test_embedding_is_a_point_on_circles_turning_at_known_rates() -> None:
    t = torch.tensor([0.0, 0.5, 3.0, 999.0], dtype=torch.float64)
    e = sinusoidal(t, 16)
    sine, cosine = e[:, :8], e[:, 8:]
    rate = 10_000 ** -(torch.arange(8, dtype=torch.float64) / 7)
    assert e.shape == (4, 16)
    assert torch.allclose(sine.square() + cosine.square(), torch.ones(4, 8, dtype=torch.float64))
    assert torch.allclose(sine, torch.sin(t[:, None] * rate), atol=1e-4)
    assert torch.allclose(cosine, torch.cos(t[:, None] * rate), atol=1e-4)


def test_a_later_time_turns_the_embedding_by_the_difference_alone() -> None:
    t, s = torch.tensor([1.0, 40.0, 700.0], dtype=torch.float64), torch.tensor([2.5, 2.5, 2.5], dtype=torch.float64)
    (sin_t, cos_t), (sin_s, cos_s) = sinusoidal(t, 8).chunk(2, 1), sinusoidal(s, 8).chunk(2, 1)
    turned = torch.cat((sin_t * cos_s + cos_t * sin_s, cos_t * cos_s - sin_t * sin_s), dim=1)
    assert torch.allclose(sinusoidal(t + s, 8), turned, atol=1e-12)


def test_embedding_tells_close_late_times_apart_in_any_precision() -> None:
    whole = sinusoidal(torch.tensor([998, 999]), 64)
    assert whole.dtype == torch.float32
    assert torch.equal(whole, sinusoidal(torch.tensor([998.0, 999.0]), 64))
    assert not torch.allclose(whole[0], whole[1], atol=0.1)


@pytest.mark.parametrize("width", [-2, 0, 2, 7])
def test_an_embedding_of_impossible_width_is_refused(width: int) -> None:
    with pytest.raises(ConfigError, match=f"not {width}"):
        sinusoidal(torch.zeros(1), width)
