"""The transformer: its sizes, its positions at every size, its laws and refusals; its values are in tests/parity."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from residiff.errors import ConfigError
from residiff.nn.dit import PATCHES, SIZES, Block, DiT, Head, SelfAttention, position_embedding


def fresh(seed: int = 0, input_size: int = 16) -> DiT:
    torch.manual_seed(seed)
    return DiT(6, patch=4, width=24, depth=2, heads=3, input_size=input_size)


def small(seed: int = 0, input_size: int = 16) -> DiT:
    """A net that has left its start, where the output is zero."""
    net = fresh(seed, input_size)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
    return net


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def times(*values: float) -> tuple[Tensor, ...]:
    return (torch.tensor(values),)


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("size", "shown", "x_t_alone"),
    [
        ("S", 33_076_800, 33_003_072),
        ("B", 130_739_136, 130_591_680),
        ("L", 458_405_056, 458_208_448),
        ("XL", 675_469_632, 675_248_448),
    ],
)
def test_published_sizes_at_patch_8(size: str, shown: int, x_t_alone: int) -> None:
    """Positions counted, as the published figures do, though they are not trained."""
    for in_channels, expected in ((6, shown), (3, x_t_alone)):
        with torch.device("meta"):
            net = SIZES[size].build(8, in_channels)
        assert sum(value.numel() for value in net.state_dict().values()) == expected
        assert "pos_embed" not in dict(net.named_parameters())
        assert net.pos_embed.shape == (1, 32 * 32, SIZES[size].width)
        assert (len(net.blocks), net.size_multiple) == (SIZES[size].depth, 8)


@pytest.mark.parametrize("patch", PATCHES)
def test_every_published_patch_builds_and_keeps_the_blocks(patch: int) -> None:
    with torch.device("meta"):
        net = SIZES["S"].build(patch, 6)
        out = net(torch.empty(1, 6, 256, 256), (torch.empty(1),))[0]
    assert out.shape == (1, 3, 256, 256)
    assert net.x_embedder.proj.weight.shape == (384, 6, patch, patch)
    assert net.final_layer.linear.out_features == 3 * patch**2
    assert sum(p.numel() for p in net.blocks.parameters()) == 12 * (18 * 384**2 + 15 * 384)


def test_at_the_start_every_block_is_the_identity_and_the_output_is_zero() -> None:
    net, x = fresh(), draw(2, 6, 16, 16)
    z, time = draw(2, 16, 24), draw(2, 1, 24)
    with torch.inference_mode():
        assert all(torch.equal(block(z, time), z) for block in net.blocks)
        assert not net(x, times(1.0, 2.0))[0].any()


def test_weights_start_as_stated() -> None:
    torch.manual_seed(0)
    net = DiT(6, patch=8, width=128, depth=1, heads=2, input_size=64)
    for weight in (net.x_embedder.proj.weight.flatten(1), net.blocks[0].attn.qkv.weight):
        bound = math.sqrt(6 / sum(weight.shape))
        assert 0.99 * bound < weight.abs().max() <= bound
    for layer in (net.t_embedder.mlp[0], net.t_embedder.mlp[2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(value.any() for name, value in net.named_parameters() if name.endswith("bias"))


def test_every_parameter_gets_a_gradient_once_the_zeros_have_moved() -> None:
    """The head moves first, then the gates and the head's modulation, then all."""
    net, x = fresh().double(), draw(2, 6, 16, 16).double()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    reached = []
    for _ in range(3):
        optimiser.zero_grad()
        (net(x, times(3.0, 700.0))[0] - x[:, :3]).square().mean().backward()
        reached.append({name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()})
        optimiser.step()
    assert reached[0] == {"final_layer.linear.weight", "final_layer.linear.bias"}
    assert reached[0] < reached[1] < reached[2]
    assert reached[2] == {name for name, _ in net.named_parameters()}
    for block in net.blocks:
        assert all(part.any() for part in block.adaLN_modulation[1].weight.grad.chunk(6))


def test_a_batch_equals_its_members() -> None:
    net, x = small(), draw(2, 6, 16, 8)
    with torch.inference_mode():
        both = net(x, times(3.0, 700.0))[0]
        singles = net(x[:1], times(3.0))[0], net(x[1:], times(700.0))[0]
    assert relative(both, torch.cat(singles)) < 1e-5


def test_attention_weighs_values_as_the_formula_says() -> None:
    torch.manual_seed(0)
    layer, z = SelfAttention(24, 3).double(), 3 * draw(2, 5, 24).double()
    with torch.no_grad():
        nn.init.normal_(layer.qkv.bias)
        for one, out in zip(z, layer(z), strict=True):
            q, k, v = (one @ layer.qkv.weight.T + layer.qkv.bias).reshape(5, 3, 3, 8).permute(1, 2, 0, 3)
            heads = []
            for head in range(3):
                logits = q[head] @ k[head].T / 8**0.5
                heads.append(logits.exp() / logits.exp().sum(1, keepdim=True) @ v[head])
            assert torch.allclose(out, layer.proj(torch.cat(heads, dim=1)), atol=1e-9)


def test_attention_runs_in_the_kernel_that_never_holds_all_weights() -> None:
    layer, z = SelfAttention(24, 3), draw(1, 5, 24)
    with torch.inference_mode():
        expected = layer(z)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert torch.equal(layer(z), expected)


def test_a_block_shifts_scales_and_gates_as_the_formula_says() -> None:
    torch.manual_seed(0)
    block, z, time = Block(24, 3).double(), draw(2, 5, 24).double(), draw(2, 1, 24).double()

    def normal(z: Tensor) -> Tensor:
        return (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    def gelu(u: Tensor) -> Tensor:
        return u / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))

    with torch.no_grad():
        linear = block.adaLN_modulation[1]
        nn.init.normal_(linear.weight, std=0.3)
        vectors = linear(time * time.sigmoid()).reshape(2, 1, 6, 24).unbind(2)
        between = z + vectors[2] * block.attn(normal(z) * (1 + vectors[1]) + vectors[0])
        wide = gelu(block.mlp.fc1(normal(between) * (1 + vectors[4]) + vectors[3]))
        expected = between + vectors[5] * block.mlp.fc2(wide)
        assert torch.allclose(block(z, time), expected, atol=1e-9)


def test_the_head_takes_the_shift_before_the_scale() -> None:
    head, z, time = Head(24, 5).double(), draw(1, 4, 24).double(), draw(1, 1, 24).double()
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(5, 24))
        head.adaLN_modulation[1].bias[:24] = 7.0
        plain = head(z, time)
        head.adaLN_modulation[1].bias[24:] = 1.0
        assert torch.allclose(head(z, time) - 7, 2 * (plain - 7))


def test_positions_are_waves_of_column_and_row() -> None:
    rows, columns, width, trained = 3, 5, 16, 4
    table = position_embedding(rows, columns, width, trained).reshape(rows, columns, width)
    for row in range(rows):
        for column in range(columns):
            expected = []
            for u in ((column + 0.5) * trained / columns - 0.5, (row + 0.5) * trained / rows - 0.5):
                phases = [u * 10_000 ** (-i / 4) for i in range(4)]
                expected += [*map(math.sin, phases), *map(math.cos, phases)]
            assert table[row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_positions_of_a_larger_image_are_stretched_to_those_of_a_training_image() -> None:
    trained = position_embedding(4, 4, 24, 4).reshape(4, 4, 24)
    thrice = position_embedding(12, 12, 24, 4).reshape(12, 12, 24)
    assert torch.allclose(thrice[1::3, 1::3], trained, atol=1e-6)
    wide = position_embedding(4, 12, 24, 4).reshape(4, 12, 24)
    assert torch.allclose(wide[:, 1::3], trained, atol=1e-6)


def test_positions_at_the_training_size_are_those_stored_bit_for_bit() -> None:
    for size in (16, 256):
        net = fresh(input_size=size)
        assert torch.equal(position_embedding(size // 4, size // 4, 24, size // 4), net.pos_embed)


def test_the_stored_positions_serve_the_training_size_alone() -> None:
    net = small()
    same, other = draw(1, 6, 16, 16), draw(1, 6, 16, 24)
    with torch.inference_mode():
        before = [net(x, times(5.0))[0] for x in (same, other)]
        net.pos_embed.add_(1 + draw(1, 16, 24))
        after = [net(x, times(5.0))[0] for x in (same, other)]
    assert relative(after[0], before[0]) > 1e-3
    assert torch.equal(after[1], before[1])


@pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 24), (28, 8)])
def test_other_sizes_run_as_a_net_that_stores_their_positions(height: int, width: int) -> None:
    """Fold the positions into the patches' offset, by hand, at one size; the net must agree."""
    net, x = small(), draw(2, 6, height, width)
    positions = position_embedding(height // 4, width // 4, 24, 4)
    with torch.inference_mode():
        out = net(x, times(0.0, 1.5))[0]
        z = net.x_embedder.proj(x).flatten(2).mT + positions
        time = net._time(times(0.0, 1.5)[0], x.dtype)
        for block in net.blocks:
            z = block(z, time)
        patches = net.final_layer(z, time).reshape(2, height // 4, width // 4, 4, 4, 3)
    assert out.shape == (2, 3, height, width)
    assert torch.allclose(out, torch.einsum("nhwpqc->nchpwq", patches).reshape(out.shape), atol=1e-6)


def test_without_positions_moving_the_patches_moves_the_result() -> None:
    net, x = small(), draw(1, 6, 16, 16)
    with torch.inference_mode():
        placed = net(x, times(5.0))[0], net(x.roll((4, 8), (2, 3)), times(5.0))[0]
        net.pos_embed.zero_()
        free = net(x, times(5.0))[0], net(x.roll((4, 8), (2, 3)), times(5.0))[0]
    assert relative(free[1], free[0].roll((4, 8), (2, 3))) < 1e-5
    assert relative(placed[1], placed[0].roll((4, 8), (2, 3))) > 1e-2


def test_the_time_is_cosines_then_sines() -> None:
    net, embedded = small(), []
    net.t_embedder.register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
    with torch.inference_mode():
        out = net(draw(3, 6, 16, 16)[:1].expand(3, -1, -1, -1), times(0.0, 2.5, 999.0))[0]
    rate = 10_000 ** -(torch.arange(128, dtype=torch.float64) / 128)
    phase = torch.tensor([[0.0], [2.5], [999.0]], dtype=torch.float64) * rate
    assert torch.allclose(embedded[0].double(), torch.cat((phase.cos(), phase.sin()), dim=1), atol=2e-4)
    assert relative(out[0], out[1]) > 1e-3
    assert relative(out[1], out[2]) > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("width", [16, 24])
def test_other_precisions_agree_with_single(dtype: torch.dtype, tolerance: float, width: int) -> None:
    net, x = small(), draw(1, 6, 16, width)
    with torch.inference_mode():
        single = net(x, times(321.5))[0]
        other = net.to(dtype)(x.to(dtype), times(321.5))[0]
    assert other.dtype == dtype
    assert relative(other.double(), single.double()) < tolerance


@pytest.mark.parametrize(("height", "width"), [(15, 16), (16, 6), (2, 4)])
def test_a_size_that_the_patch_does_not_divide_is_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"multiples of 4, not {height} x {width}"):
        small()(draw(1, 6, height, width), times(1.0))


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (6, 16, 16)])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"(N, 6, H, W), not {shape}")):
        small()(draw(*shape), times(1.0))


@pytest.mark.parametrize("bad", [(), times(1.0, 2.0, 3.0), (*times(1.0, 2.0), *times(1.0, 2.0)), (torch.ones(2, 1),)])
def test_times_that_do_not_fit_are_refused(bad: tuple[Tensor, ...]) -> None:
    with pytest.raises(ConfigError, match=r"takes 1 tensors of times of shape \(2,\)"):
        small()(draw(2, 6, 16, 16), bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 0}, "patch is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"heads": 0}, "heads is 0"),
        ({"width": 0}, "not 0"),
        ({"width": 18, "heads": 3}, "multiple of 4 and of the 3 heads, not 18"),
        ({"width": 16, "heads": 3}, "multiple of 4 and of the 3 heads, not 16"),
        ({"input_size": 18}, "multiple of patch 4, not 18"),
        ({"input_size": 0}, "input_size is 0"),
    ],
)
def test_a_net_that_cannot_be_built_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        DiT(3, **change)
