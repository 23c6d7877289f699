"""Folding: every network gives what it gave, at any size, batch and times; its weights are not touched."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import nn

from residiff.backends import Folded, Prepared
from residiff.backends.exporting import exported
from residiff.backends.folding import one_row
from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.dit import DiT
from residiff.nn.local import given_whole, localised, look, sees_the_whole
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import SharedEncoderUNet, StandardisedConv, TwoUNets, UNet

NETWORKS = {
    "unet": lambda: UNet(6, dim=8, dim_mults=(1, 2)),
    "two": lambda: TwoUNets(7, dim=8, dim_mults=(1, 2)),
    "shared": lambda: SharedEncoderUNet(6, dim=16, dim_mults=(1, 2, 2)),
    "ddim": lambda: DDIMUNet(6, width=32, multipliers=(1, 2), blocks=1, attention=(8,), image_size=16),
    "dit": lambda: DiT(6, patch=4, width=48, depth=2, heads=3, input_size=16),
    "nafnet": lambda: NAFNet(6, heads=2, width=16, encoder=(1, 1), middle=1, decoder=(1, 1)),
}
GOLDEN = {
    "rddm_backbone_one_unet": (UNet, "unet0."),
    "rddm_backbone_two_unets": (TwoUNets, ""),
    "rddm_backbone_shared_encoder": (SharedEncoderUNet, ""),
    "resfusion_backbone_unet_mask": (UNet, ""),
}


def made(name, seed=0):
    """A network all of whose weights matter."""
    torch.manual_seed(seed)
    network = NETWORKS[name]().eval()
    with torch.no_grad():
        for each in network.parameters():
            each += 0.05 * torch.randn(each.shape)
    return network


def asked(network, count, rows, columns, equal, seed=0):
    source = torch.Generator().manual_seed(seed)
    multiple = network.size_multiple
    x = torch.randn((count, network.in_channels, rows * multiple, columns * multiple), generator=source)
    times = 900 * torch.rand(network.heads, 1 if equal else count, generator=source)
    return x, tuple(t.expand(count) for t in times)


def off(ours, theirs):
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_what_it_gave(name):
    network = made(name)
    before = copy.deepcopy(network.state_dict())
    folded = Folded(network)
    for seed, (count, equal) in enumerate(product((1, 3), (True, False))):
        rows, columns = torch.randint(1, 7, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
        x, times = asked(network, count, rows, columns, equal, seed)
        expected = network(x, times)
        assert off(folded(x, times), expected) < 1e-4 and max(float(each.std()) for each in expected) > 0.05
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(each.requires_grad for each in network.parameters())
    assert not any(each.requires_grad for each in folded.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_other_times_give_another_result(name):
    network = made(name)
    folded = Folded(network)
    x, times = asked(network, 2, 2, 3, equal=True)
    later = tuple(t / 100 for t in times)
    assert off(folded(x, later), folded(x, times)) > 1e-3
    assert off(folded(x, later), network(x, later)) < 1e-4


def test_no_standardised_filter_and_no_standing_scale_is_left():
    kinds = [type(layer) for layer in Folded(made("unet")).modules()]
    assert StandardisedConv not in kinds and kinds.count(nn.Conv2d) > 10
    assert not any("scale" in name for name, _ in Folded(made("nafnet")).named_parameters())


def test_weights_that_are_not_folded_are_shared():
    network = made("nafnet")
    folded = Folded(network)
    ours = {each.data_ptr() for each in folded.parameters()}
    theirs = {each.data_ptr() for each in network.parameters()}
    assert len(ours & theirs) > len(theirs) / 2


def test_equal_times_in_memory_are_one_row():
    same = torch.tensor([3.0]).expand(4)
    assert [t.shape for t in one_row((same, same))] == [(1,), (1,)]
    other = torch.arange(4.0)
    assert one_row((same, other))[1] is other


@torch.no_grad()
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_outputs(name, golden_arrays):
    arrays, (kind, prefix) = golden_arrays(name), GOLDEN[name]
    x = torch.cat([arrays[key] for key in ("x", "input_cond", "mask_cond") if key in arrays], dim=1)
    network = kind(x.shape[1], dim=8, dim_mults=(1, 2))
    start = f"state_dict/{prefix}"
    network.load_state_dict({key.removeprefix(start): arrays[key] for key in arrays if key.startswith(start)})
    one = (arrays["t"].float(),) * network.heads if "t" in arrays else (arrays["t_res"], arrays["t_noise"])
    expected = [arrays[key] for key in ("out", "out0", "out1") if key in arrays]
    largest = max(float(each.abs().max()) for each in expected)
    assert off(Folded(network)(x, one), expected) < 1e-4 * largest


@torch.no_grad()
@pytest.mark.parametrize("name", ["unet", "nafnet", "ddim"])
def test_a_folded_network_works_on_parts_as_the_one_it_was_made_of(name):
    network = made(name)
    x, times = asked(network, 1, 6, 6, equal=True)
    parts = localised(Folded(network))
    assert sees_the_whole(Folded(network)) and off(parts(x, times), network(x, times)) < 1e-4
    rows = x[..., : 4 * network.size_multiple]
    found, expected = (in_parts(each, x, rows, times) for each in (parts, localised(network)))
    assert off(found, expected) < 1e-4 < off(network(rows, times), expected)


def in_parts(network, x, part, times):
    """The outputs of a part of `x`, the network being told of the whole."""
    with look(1.0) as noted:
        network(x, times)
    with given_whole(noted()):
        return network(part, times)


@torch.no_grad()
def test_what_another_library_runs_is_torchs_network_when_it_is_copied():
    network = made("unet")
    x, times = asked(network, 2, 2, 2, equal=True)
    foreign = Prepared(Folded(network), lambda x, times: (x[:, :3],))
    assert torch.equal(foreign(x, times)[0], x[:, :3])
    assert (
        off(localised(foreign)(x[:1], tuple(t[:1] for t in times)), network(x[:1], tuple(t[:1] for t in times))) < 1e-4
    )


@torch.no_grad()
def test_images_with_times_of_their_own_are_run_one_by_one():
    network, seen = Folded(made("nafnet")), []

    def run(x, times):
        seen.append((len(x), *(t.shape for t in times)))
        return network(x, times)

    x, times = asked(network, 3, 1, 1, equal=False)
    assert off(Prepared(network, run)(x, times), network(x, times)) < 1e-5
    assert seen == [(1, (1,), (1,))] * 3


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_is_a_graph_of_any_batch_and_size(name):
    network = made(name)
    graph = exported(Folded(network)).module()
    for count, rows, columns in ((1, 2, 3), (3, 4, 2), (5, 3, 3)):
        x, times = asked(network, count, rows, columns, equal=True)
        assert off(graph(x, *(t[:1] for t in times)), network(x, times)) < 1e-4
