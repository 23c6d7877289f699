"""A sampling run that is known in every number: an estimator that is right, on a smooth residual."""

import pytest
import torch

from residiff.noise import seeded_noise
from residiff.plots import Run
from residiff.prediction import Estimate
from residiff.sample import ORDERS, walk
from residiff.schedule import RDDM

SIZE, PADDED = (40, 60), (48, 64)


def _scene():
    """x_0 of random pixels and x_in, darker to the right, (1, 3, H, W) in [-1, 1]."""
    x0 = torch.rand(1, 3, *PADDED, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return x0, x0 - torch.linspace(0, 0.8, PADDED[1])


def _noise():
    return seeded_noise(0, (1, 3, *PADDED))()


def _right(x_t, level, x_in, condition):
    """The truth, whatever the level: the ablations tell the network another one than x_t has."""
    x0, _ = _scene()
    return Estimate(x0, x_in - x0, _noise())


@pytest.fixture(scope="session")
def truth():
    """The clean picture (3, H, W) in [0, 1]."""
    return (_scene()[0][0, :, : SIZE[0], : SIZE[1]] + 1) / 2


@pytest.fixture(scope="session")
def run():
    """`run(order="simultaneous", steps=4)`: a run of it, whose states are padded."""

    def made(order="simultaneous", steps=4):
        schedule, (_, x_in) = RDDM(length=100, total_noise=0.25), _scene()
        x = schedule.start(x_in, _noise())
        return Run(walk(_right, x, x_in, ORDERS[order](schedule.levels(steps))), SIZE)

    return made
