"""Convolutional layers of AlexNet and VGG16, whose activations perceptual distances compare.

Built of plain torch layers in the order of torchvision's `alexnet` and `vgg16` ("configuration D"), so that the names
of their published weights fit: `features.0.weight`, `features.0.bias`, ...

Sources: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014; Simonyan and Zisserman, Very
deep convolutional networks for large-scale image recognition, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from residiff.errors import ConfigError

# Places of the rectifiers whose outputs are compared, and how many channels they have
ALEXNET_TAPS, ALEXNET_WIDTHS = (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)
VGG16_TAPS, VGG16_WIDTHS = (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)
_VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)


def alexnet_features() -> nn.Sequential:
    """AlexNet's layers 0 to 11, with random weights: its last pooling, 12, has no weights and is left out."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def vgg16_features(pooling: Callable[[int], nn.Module]) -> nn.Sequential:
    """VGG16's layers 0 to 29, with random weights; between stages stands `pooling` of the number of channels."""
    layers: list[nn.Module] = []
    before = 3
    for width, count in zip(VGG16_WIDTHS, _VGG16_CONVOLUTIONS, strict=True):
        if layers:
            layers.append(pooling(before))
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    return nn.Sequential(*layers)


def activations(features: nn.Sequential, x: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """What the layers at the places `taps` give for a batch `x` (N, 3, H, W), in order of place."""
    found = []
    for place, layer in enumerate(features):
        x = layer(x)
        if place in taps:
            found.append(x)
    return found


def check_pair(first: Tensor, second: Tensor, least: int) -> None:
    """Raise `ConfigError` unless two batches are of one shape (N, 3, H, W), sides of at least `least`."""
    if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ConfigError(f"the images have shapes {shapes}; give two of one shape (N, 3, H, W), grey repeated thrice")
    if min(first.shape[2:]) < least:
        height, width = first.shape[2:]
        raise ConfigError(f"the images are {width} x {height} pixels; needed are at least {least} x {least}")
