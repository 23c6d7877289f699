"""Checkpointing: the same gradients to the bit and the same names, with less held between forward and backward."""

import copy

import pytest
import torch
from torch import nn

from residiff.errors import ConfigError
from residiff.nn.checkpointing import BLOCKS, blocks, checkpoint_blocks
from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.dit import DiT
from residiff.nn.nafnet import NAFNet
from residiff.nn.unet import SharedEncoderUNet, TwoUNets, UNet

NETWORKS = {
    "nafnet": lambda: NAFNet(6, width=8, encoder=(1,), middle=2, decoder=(1,)),
    "unet": lambda: UNet(6, 3, 8, (1, 2), 4),
    "two": lambda: TwoUNets(6, 3, 8, (1, 2), 4),
    "shared": lambda: SharedEncoderUNet(6, 3, 8, (1, 2), 4),
    "ddim": lambda: DDIMUNet(6, 3, 32, (1, 2), 1, (8,), 16, dropout=0.3),
    "dit": lambda: DiT(6, 3, 4, 32, 2, 2, 16),
}


def built(name):
    """A small network whose every weight counts: those that begin at zero are drawn too."""
    torch.manual_seed(1)
    network = NETWORKS[name]()
    for value in network.parameters():
        if not value.any():
            nn.init.normal_(value, std=0.1)
    return network


def outputs(network, precision=None):
    source = torch.Generator().manual_seed(2)
    x, t = torch.randn(2, 6, 16, 16, generator=source), torch.tensor([3.0, 40.0])
    with torch.autocast("cpu", precision, enabled=precision is not None):
        return network(x, (t,) * network.heads)


def gradients(network, precision=None):
    """Of a sum that every output counts in, with dropout drawn from one seed; last, what is drawn next."""
    torch.manual_seed(3)
    sum(out.float().square().sum() for out in outputs(network, precision)).backward()
    return {name: value.grad for name, value in network.named_parameters()} | {"next": torch.rand(4)}


def saved(network):
    """Bytes held for the backward pass, weights left out."""
    held = {value.untyped_storage().data_ptr(): 0 for value in network.parameters()}

    def pack(tensor):
        held.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        kept.append(tensor)
        return tensor

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        results = outputs(network)
    del results
    return sum(held.values())


@pytest.mark.parametrize("precision", [None, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_are_the_same_to_the_bit(name, precision):
    expected = gradients(built(name), precision)
    network = built(name)
    checkpoint_blocks(network)
    found = gradients(network, precision)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_less_is_held_and_no_weight_has_another_name(name):
    network = built(name)
    before, keys = saved(network), list(network.state_dict())
    checkpoint_blocks(network)
    assert saved(network) < 0.6 * before
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("name", NETWORKS)
def test_most_weights_lie_in_blocks_and_no_block_in_another(name):
    network = built(name)
    found = blocks(network)
    inside = [id(value) for block in found for value in block.parameters()]
    assert len(inside) == len(set(inside))
    assert len(inside) > 0.6 * len(list(network.parameters()))


def test_every_network_is_here():
    assert {type(built(name)) for name in NETWORKS} == set(BLOCKS)


def test_nothing_is_computed_twice_but_in_training_with_gradients():
    network = built("nafnet")
    checkpoint_blocks(network)
    calls = []
    network.middle[0].expand.register_forward_hook(lambda *_: calls.append(1))
    sum(out.sum() for out in outputs(network)).backward()
    assert len(calls) == 2
    with torch.no_grad():
        outputs(network)
    assert len(calls) == 3
    sum(out.sum() for out in outputs(network.eval())).backward()
    assert len(calls) == 4


def test_a_copy_computes_with_its_own_weights():
    network = built("unet")
    checkpoint_blocks(network)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    fresh = gradients(built("unet"))
    assert all(torch.equal(value, fresh[key]) for key, value in gradients(twin).items())
    assert all(value.grad is None for value in network.parameters())


def test_a_network_of_unknown_blocks_is_refused():
    with pytest.raises(ConfigError, match="blocks of Linear are not known; known are those of NAFNet, UNet"):
        checkpoint_blocks(nn.Linear(1, 1))
