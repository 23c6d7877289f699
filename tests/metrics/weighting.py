"""Weights for networks that nobody trained: the same for everybody, of a size that keeps activations about 1."""

import torch

from residiff.seeds import generator


def drawn(shapes, seed):
    """Weights of the names and shapes given, in order of name: positive numbers where they are no convolution's."""
    source = generator(seed)
    found = {}
    for key, shape in sorted(shapes.items()):
        if len(shape) == 4 and shape[0] > 1:
            found[key] = torch.randn(shape, generator=source) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif key.endswith("num_batches_tracked"):
            found[key] = torch.tensor(0)
        else:
            least = 0.5 if key.endswith(("running_var", "bn.weight")) else 0.0
            found[key] = torch.rand(shape, generator=source) + least
    return found


def pair(count, height, width, seed=0):
    """Two batches (N, 3, H, W) in [0, 1] that differ by noise."""
    source = generator(seed)
    first = torch.rand(count, 3, height, width, generator=source)
    return first, (first + 0.2 * torch.randn(first.shape, generator=source)).clamp(0, 1)
