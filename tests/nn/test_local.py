"""Networks on parts of an image: with what was found out of the whole, each part is what it is in the whole."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.local import Window, given_whole, localised, look, sees_the_whole
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import SharedEncoderUNet, TwoUNets, UNet

NETWORKS = {
    "nafnet": lambda: NAFNet(6, 3, 1, 8, (1, 1), 1, (1, 1), 2),
    "unet": lambda: UNet(6, 3, dim=8, dim_mults=(1, 2)),
    "two": lambda: TwoUNets(6, 3, dim=8, dim_mults=(1, 2)),
    "shared": lambda: SharedEncoderUNet(6, 3, dim=8, dim_mults=(1, 2)),
    "ddim": lambda: DDIMUNet(6, 3, width=32, multipliers=(1, 2), blocks=1, attention=(16,), image_size=32),
}


def network(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = NETWORKS[name]().double().eval().requires_grad_(False)
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def times(made: nn.Module, count: int) -> tuple[Tensor, ...]:
    return tuple(torch.full((count,), 300.0, dtype=torch.float64) for _ in range(made.heads))


@pytest.mark.parametrize("name", NETWORKS)
def test_of_one_image_it_is_the_network(name: str) -> None:
    made, x = network(name), draw(1, 6, 32, 48)
    for ours, theirs in zip(localised(made)(x, times(made, 1)), made(x, times(made, 1)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_are_as_in_the_whole(name: str) -> None:
    """The middle of a part, as far from its borders as convolutions reach."""
    made, x = network(name), draw(1, 6, 160, 64)
    parts = localised(made)
    with look(1.0) as noted:
        expected = parts(x, times(made, 1))
    with given_whole(noted()):
        found = parts(x[:, :, 16:144], times(made, 1))
    alone = made(x[:, :, 16:144], times(made, 1))
    for ours, theirs, without in zip(found, expected, alone, strict=True):
        assert (ours[:, :, 56:72] - theirs[:, :, 72:88]).abs().max() < 1e-9
        assert (without[:, :, 56:72] - theirs[:, :, 72:88]).abs().max() > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_noted_of_parts_is_put_together(name: str) -> None:
    """Of two batches, each as large, with the same known: what is noted of both at once."""
    made, x = network(name), draw(4, 6, 16, 32)
    parts = localised(made)
    with look(0.5) as first:
        parts(x, times(made, 4))
    with look(0.5, first()) as both:
        parts(x, times(made, 4))
    halves = []
    for half in (x[:2], x[2:]):
        with look(0.25, first()) as noted:
            parts(half, times(made, 2))
        halves.append(noted())
    for ours, theirs in zip(halves[0].merged(halves[1:]).noted, both().noted, strict=True):
        for a, b in zip(tensors(ours), tensors(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def tensors(note: object) -> list[Tensor]:
    every = [each for value in vars(note).values() for each in (value if isinstance(value, tuple) else (value,))]
    found = [each for each in every if isinstance(each, Tensor)]
    # Tokens come in whatever order
    return [each.sort(2).values if each.ndim == 4 and each.shape[2] > 32 else each for each in found]


def test_what_is_noted_lies_within_the_windows() -> None:
    """Parts that overlap tell, with windows that do not, what the whole does once it is known."""
    made, x = network("nafnet"), draw(1, 6, 96, 64)
    parts = localised(made)
    with look(1.0) as whole:
        parts(x, times(made, 1))
    tiles = torch.cat([x[:, :, :64], x[:, :, 32:]])
    windows = [Window(0, 48 / 64), Window(16 / 64, 1)]
    with look(1.0, whole(), windows) as noted:
        parts(tiles, times(made, 2))
    with look(1.0, whole()) as without:
        parts(tiles, times(made, 2))
    gaps = [
        max(float((a.values[0] - b.values[0]).abs().max()) for a, b in zip(each().noted, whole().noted, strict=True))
        for each in (noted, without)
    ]
    assert gaps[0] < 0.01 * gaps[1]


def test_the_number_of_pixels_is_that_of_the_whole() -> None:
    """Half an image that is the same again tells of linear attention what the whole does: twice the pixels."""
    made = network("unet")
    half = draw(1, 6, 16, 64)
    parts = localised(made)
    with look(1.0) as whole:
        parts(torch.cat([half, half]), times(made, 2))
    with look(0.5) as told:
        parts(half, times(made, 1))
    contexts = [[note.context for note in each().noted if hasattr(note, "context")] for each in (whole, told)]
    assert len(contexts[0]) > 2
    for ours, theirs in zip(*contexts, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_weights_are_shared_and_the_network_stays_as_it_is() -> None:
    made = network("unet")
    before = made(draw(1, 6, 16, 16), times(made, 1))[0]
    copied = localised(made)
    assert {id(each) for each in copied.parameters()} == {id(each) for each in made.parameters()}
    assert torch.equal(made(draw(1, 6, 16, 16), times(made, 1))[0], before)
    assert sees_the_whole(made) and not sees_the_whole(nn.Conv2d(3, 3, 3))


def test_threads_do_not_meet() -> None:
    made = network("nafnet")
    parts, x = localised(made), draw(1, 6, 32, 32)
    expected = made(x, times(made, 1))[0]
    found: list[Tensor] = []
    with look(1.0):
        thread = threading.Thread(target=lambda: found.append(parts(x, times(made, 1))[0]))
        thread.start()
        thread.join()
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-9)
