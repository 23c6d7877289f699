"""NAFNet: its size and cost, what it heeds, and that memory layout and company in the batch do not matter."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from residiff.errors import ConfigError
from residiff.nn import NAFNetSettings, UNetSettings
from residiff.nn.embedding import sinusoidal
from residiff.nn.nafnet import Block, ChannelNorm, NAFNet


def tiny(heads=1, **changes):
    """A small network whose every parameter counts: the layer scales, zero at first, are drawn too."""
    torch.manual_seed(1)
    network = NAFNet(
        **{"in_channels": 6, "heads": heads, "width": 8, "encoder": (1,), "middle": 1, "decoder": (1,)} | changes
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "scale" in name:
                value.copy_(torch.randn(value.shape, generator=generator))
    return network.eval()


def inputs(batch=2, channels=6, height=16, width=24):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(3))


def times(*values):
    return (torch.tensor(values, dtype=torch.float32),)


def close(one, other, tolerance=2e-6):
    scale = max(1.0, one.abs().max().item())
    return (one - other).abs().max().item() <= tolerance * scale


def test_the_default_has_the_stated_size_and_cost():
    network = NAFNetSettings().build(6, 3, 1)
    count = sum(value.numel() for value in network.parameters())
    assert count == pytest.approx(2.94e6, rel=2e-3)
    assert count <= 3_000_000
    with torch.device("meta"):
        network = NAFNetSettings().build(6, 3, 1)
        x, t = torch.empty(1, 6, 256, 256), torch.empty(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, (t,))
    assert 4.2e9 <= counter.get_total_flops() / 2 <= 4.4e9


def test_a_block_has_the_parameters_of_the_paper():
    c, t = 24, 64
    expected = (
        (t + 1) * 2 * c
        + 2 * 2 * c
        + (c + 1) * 2 * c
        + 10 * 2 * c
        + 2 * (c + 1) * c
        + (c + 1) * 2 * c
        + (c + 1) * c
        + 2 * c
    )
    assert sum(value.numel() for value in Block(c, t).parameters()) == expected


def by_hand(network, x, t):
    """The network of two levels, written out."""
    time = network.time(sinusoidal(t, 64))
    first = network.encoder[0](network.intro(F.pixel_unshuffle(x, 2)), time)
    second = network.encoder[1](network.down[0](first), time)
    bottom = network.middle(network.down[1](second), time)
    up = network.decoder[0](F.pixel_shuffle(network.up[0](bottom), 2) + second, time)
    up = network.decoder[1](F.pixel_shuffle(network.up[1](up), 2) + first, time)
    return F.pixel_shuffle(network.ending(up), 2)


def test_the_network_is_its_levels_and_so_is_its_gradient():
    network = tiny(encoder=(1, 1), decoder=(1, 1))
    x, t = inputs(), times(3, 400)
    expected, (given,) = by_hand(network, x, t[0]), network(x, t)
    assert close(expected, given)
    wanted = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
    got = torch.autograd.grad(given.square().sum(), list(network.parameters()))
    assert all(close(one, other, 1e-4) for one, other in zip(wanted, got, strict=True))


def test_channel_norm_is_torchs_over_channels():
    norm = ChannelNorm(8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = inputs(channels=8)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    by_hand = (x - mean) / (variance + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert close(by_hand, norm(x))


def test_a_block_is_its_formula():
    block = Block(4, 8)
    for value in block.parameters():
        torch.nn.init.normal_(value, std=0.5)
    x, time = inputs(channels=4), torch.randn(2, 8)
    scale, shift = block.time(time)[:, :4, None, None], block.time(time)[:, 4:, None, None]
    y = block.depthwise(block.expand(block.norm1(x) * (1 + scale) + shift))
    y = y[:, :4] * y[:, 4:]
    y = y * block.attention(y.mean((2, 3), keepdim=True))
    middle = x + block.scale1 * block.project(y)
    z = block.widen(block.norm2(middle))
    expected, given = middle + block.scale2 * block.narrow(z[:, :4] * z[:, 4:]), block(x, time)
    assert close(expected, given)
    wanted = torch.autograd.grad(expected.square().sum(), list(block.parameters()))
    got = torch.autograd.grad(given.square().sum(), list(block.parameters()))
    assert all(close(one, other, 1e-4) for one, other in zip(wanted, got, strict=True))


def test_a_fresh_block_passes_its_input_on():
    x = inputs(channels=8)
    assert torch.equal(Block(8, 16)(x, torch.randn(2, 16)), x)


@pytest.mark.parametrize(("height", "width"), [(18, 16), (16, 17), (15, 15), (2, 4)])
def test_a_size_that_does_not_fit_is_refused(height, width):
    with pytest.raises(ConfigError, match=f"multiples of 4, not {height} x {width}"):
        tiny()(inputs(height=height, width=width), times(1, 1))


@pytest.mark.parametrize(
    ("encoder", "fold", "multiple"), [((1,), 1, 2), ((1,), 2, 4), ((1, 0), 2, 8), ((0, 0, 1), 3, 24)]
)
def test_the_size_multiple_is_enough(encoder, fold, multiple):
    network = tiny(encoder=encoder, decoder=encoder, fold=fold)
    assert network.size_multiple == multiple
    x = inputs(height=multiple, width=2 * multiple)
    assert network(x, times(1, 1))[0].shape == (2, 3, multiple, 2 * multiple)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("out_channels", [1, 3])
def test_each_head_has_an_output_and_a_time(heads, out_channels):
    network = tiny(heads, out_channels=out_channels)
    outputs = network(inputs(), times(3, 400) * heads)
    assert [tuple(output.shape) for output in outputs] == [(2, out_channels, 16, 24)] * heads


def test_the_times_matter_each():
    network = tiny(heads=2)
    x = inputs(1)
    early, late = times(3), times(700)
    first = network(x, (early[0], early[0]))[0]
    assert not close(first, network(x, (late[0], early[0]))[0], 1e-3)
    assert not close(first, network(x, (early[0], late[0]))[0], 1e-3)


def test_each_image_heeds_its_own_time():
    network = tiny()
    x = inputs(1).expand(2, -1, -1, -1)
    both = network(x, times(3, 700))[0]
    assert not close(both[0], both[1], 1e-3)
    assert close(both[1:], network(x[:1], times(700))[0])


@pytest.mark.parametrize("channel", range(6))
def test_every_input_channel_matters(channel):
    x = inputs(1)
    changed = x.clone()
    changed[:, channel] += 1
    assert not close(tiny()(x, times(3))[0], tiny()(changed, times(3))[0], 1e-4)


@pytest.mark.parametrize("heads", [1, 2])
def test_a_step_of_training_brings_a_gradient_to_every_parameter(heads):
    torch.manual_seed(1)
    network = NAFNet(6, heads=heads, width=8, encoder=(1, 1), middle=1, decoder=(1, 1))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    x = inputs()
    for _ in range(2):
        optimiser.zero_grad(set_to_none=True)
        torch.stack([output.square().mean() for output in network(x, times(3, 400) * heads)]).sum().backward()
        silent = {name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()}
        optimiser.step()
    assert silent == set()


def test_the_memory_layout_does_not_matter():
    network = tiny()
    x = inputs()
    expected = network(x, times(3, 400))[0]
    assert close(expected, network(x.contiguous(memory_format=torch.channels_last), times(3, 400))[0])
    assert close(expected, network(x.flip(3).flip(3).transpose(2, 3).contiguous().transpose(2, 3), times(3, 400))[0])
    plain = tiny().to(memory_format=torch.contiguous_format)
    assert close(expected, plain(x, times(3, 400))[0])


@pytest.mark.parametrize("heads", [1, 2])
def test_an_image_does_not_depend_on_its_company(heads):
    network = tiny(heads)
    x, t = inputs(5), torch.tensor([0.0, 3, 50, 400, 999])
    together = network(x, (t,) * heads)
    for index in range(5):
        alone = network(x[index : index + 1], (t[index : index + 1],) * heads)
        for one, all_ in zip(alone, together, strict=True):
            assert close(one[0], all_[index])


def test_it_does_not_change_its_input():
    x = inputs()
    kept = x.clone()
    tiny()(x, times(3, 400))
    assert torch.equal(x, kept)


def test_half_precision_by_autocast_stays_near():
    network, x = tiny(), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, times(3, 400))[0]
    assert close(network(x, times(3, 400))[0], rough.float(), 0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 3}, "width is 3"),
        ({"width": 10**9}, "width is 1000000000; allowed are 4 to 2048"),
        ({"fold": 0}, "fold is 0"),
        ({"fold": 9}, "fold is 9"),
        ({"middle": -1}, "middle is -1"),
        ({"middle": 65}, "middle is 65"),
        ({"encoder": (1, -1)}, "blocks of a level is -1"),
        ({"decoder": (1, 65)}, "blocks of a level is 65"),
        ({"encoder": (64, 64), "decoder": (1, 1)}, "blocks in all is 138"),
        ({"encoder": (), "decoder": ()}, "number of levels is 0"),
        ({"encoder": (0,) * 9, "decoder": (0,) * 9}, "number of levels is 9"),
        ({"encoder": (0,) * 8, "decoder": (0,) * 8}, "width multiplier is 128"),
        ({"encoder": (1,)}, "encoder has 1 levels and decoder 2"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        NAFNetSettings(**change)


def test_levels_that_do_not_pair_are_refused_by_the_network_too():
    with pytest.raises(ConfigError, match="encoder has 2 levels and decoder 1"):
        NAFNet(6, encoder=(1, 1), decoder=(1,))


@pytest.mark.parametrize(
    "change", [{"width": 12}, {"groups": 0}, {"multipliers": ()}, {"multipliers": (0,)}, {"width": 2}]
)
def test_unet_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError):
        UNetSettings(**change)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=3),
    st.integers(4, 12),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(3, 7),
)
def test_whatever_the_settings_allow_can_be_built_and_run(levels, width, middle, fold, heads, channels):
    backbone = NAFNetSettings(width=width, encoder=tuple(levels), middle=middle, decoder=tuple(levels[::-1]), fold=fold)
    network = backbone.build(channels, 3, heads)
    side = network.size_multiple
    outputs = network(inputs(1, channels, side, side), times(5) * heads)
    assert [tuple(output.shape) for output in outputs] == [(1, 3, side, side)] * heads
    assert all(torch.isfinite(output).all() for output in outputs)
