"""`imresize` against a dense matrix written plainly and against Pillow; OpenCV and Pillow on 8 bits; bad input."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.errors import ConfigError
from residiff.metrics import Rounding, imresize, opencv_resize, pillow_resize

SIZES = [
    ((9, 13), (21, 40)),
    ((31, 20), (12, 7)),
    ((11, 30), (25, 8)),
    ((1, 1), (5, 3)),
    ((1, 17), (4, 6)),
    ((23, 1), (1, 1)),
    ((10, 14), (10, 14)),
    ((640, 3), (256, 3)),
]
# SHA-256 of what OpenCV 4.12.0 and 5.0.0 (x86-64) both made of `pattern`
OPENCV = [
    ((3, 480, 640), (256, 256), "c680471e3023f36a"),
    ((1, 100, 75), (256, 256), "cb9331d719bca6d1"),
    ((3, 64, 80), (32, 40), "ad632cf774d57791"),
    ((3, 60, 80), (60, 40), "10e9301774b63d9e"),
    ((1, 36, 644), (500, 500), "39601973d7e2efb6"),  # weights half-way between two integers in float64
    ((3, 33, 47), (16, 100), "b17f334c75195202"),
    ((1, 1, 1), (5, 7), "0d5535e13cc9708d"),
    ((3, 7, 1), (3, 9), "294481db00486c31"),
    ((3, 40, 40), (40, 40), "f0f854e8c46273d1"),
]


def pattern(channels, height, width):
    """8-bit pixels that anybody can make again."""
    k, y, x = (torch.arange(n) for n in (channels, height, width))
    k, y = k[:, None, None], y[:, None]
    return ((x * x * 31 + y * y * 17 + x * y * 7 + k * 101) % 256).to(torch.uint8)


def cubic(d):
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def dense(size, length):
    """(length, size): every pixel of a side mirrored without end, weighed one by one."""
    scale = length / size
    narrow, matrix = min(scale, 1), np.zeros((length, size))
    for x in range(length):
        u = (x + 0.5) / scale - 0.5
        for j in range(int(u - 2 / narrow) - 2, int(u + 2 / narrow) + 3):
            inside = (list(range(size)) + list(range(size))[::-1])[j % (2 * size)]
            matrix[x, inside] += cubic(narrow * (u - j))
    return matrix / matrix.sum(1, keepdims=True)


def levels(values):
    return np.clip(np.floor(values + 0.5), 0, 255)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_imresize_of_floats_is_the_dense_matrix(size, target, channels, draw):
    image = draw((channels, *size), np.float64) * 3 - 1
    rows, columns = dense(size[0], target[0]), dense(size[1], target[1])
    found = imresize(torch.from_numpy(image), *target)
    assert found.dtype == torch.float64 and found.shape == (channels, *target) and found.is_contiguous()
    assert np.abs(found.numpy() - rows @ image @ columns.T).max() < 1e-9


@pytest.mark.parametrize(("size", "target"), [*SIZES, ((24, 20), (19, 15)), ((24, 20), (48, 40))])
def test_imresize_of_bytes_rounds_once_or_after_each_pass(size, target, draw):
    image = draw((3, *size))
    matrices = {0: dense(size[0], target[0]), 1: dense(size[1], target[1])}

    def one(values, axis):
        return matrices[0] @ values if axis == 0 else values @ matrices[1].T

    smallest, other = (0, 1) if target[0] / size[0] <= target[1] / size[1] else (1, 0)
    found = {rule: imresize(torch.from_numpy(image), *target, rule) for rule in Rounding}
    assert {result.dtype for result in found.values()} == {torch.uint8}
    assert (found[Rounding.ONCE].numpy() == levels(one(one(image, smallest), other))).all()
    assert (found[Rounding.EACH_PASS].numpy() == levels(one(levels(one(image, smallest)), other))).all()
    assert (imresize(torch.from_numpy(image), *target) == found[Rounding.EACH_PASS]).all()


def test_the_order_of_the_passes_is_seen():
    image = pattern(1, 24, 20)
    rows, columns = dense(24, 19), dense(20, 15)
    assert (levels(rows @ levels(image[0].numpy() @ columns.T)) == imresize(image, 19, 15)[0].numpy()).all()
    assert (levels(levels(rows @ image[0].numpy()) @ columns.T) != imresize(image, 19, 15)[0].numpy()).any()


def test_imresize_overshoots_in_floats_and_is_clipped_in_bytes():
    edge = torch.tensor([0, 0, 0, 255, 255, 255], dtype=torch.uint8).expand(1, 6, 6)
    floats = imresize(edge.double() / 255, 24, 24)
    assert floats.min() < -0.05 and floats.max() > 1.05
    assert imresize(edge, 24, 24).min() == 0 and imresize(edge, 24, 24).max() == 255
    assert imresize(edge.float() / 255, 24, 24).dtype == torch.float64


@pytest.mark.parametrize(("size", "target"), [((480, 640), (256, 256)), ((96, 70), (256, 201))])
def test_imresize_is_pillow_s_kernel_inside(size, target, draw):
    image = draw(size, np.float32)
    theirs = np.asarray(Image.fromarray(image, "F").resize(target[::-1], Image.Resampling.BICUBIC))
    ours = imresize(torch.from_numpy(image)[None], *target)[0].numpy()
    inside = tuple(slice(margin := max(3, 3 * b // a), b - margin) for a, b in zip(size, target, strict=True))
    assert np.abs(theirs - ours)[inside].max() < 2e-6
    assert np.abs(theirs - ours).max() > 1e-3  # the borders differ


@pytest.mark.parametrize(("shape", "target", "digest"), OPENCV)
def test_opencv_bit_for_bit(shape, target, digest):
    found = opencv_resize(pattern(*shape), *target)
    assert found.dtype == torch.uint8 and found.shape == (shape[0], *target)
    assert hashlib.sha256(found.permute(1, 2, 0).contiguous().numpy().tobytes()).hexdigest()[:16] == digest


def test_opencv_where_rounding_matters():
    found = opencv_resize(pattern(1, 3, 5), 4, 4)
    assert found[0].tolist() == [[4, 66, 61, 213], [15, 82, 83, 100], [41, 115, 122, 62], [73, 153, 165, 111]]


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_opencv_is_bilinear_without_antialias_to_one_level(size, target, draw):
    image = torch.from_numpy(draw((3, *size)))
    exact = torch.nn.functional.interpolate(image[None].double(), target, mode="bilinear", align_corners=False)[0]
    assert (opencv_resize(image, *target) - exact).abs().max() < 1.01


@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_bytes(channels, draw):
    image = draw((channels, 30, 41))
    found = pillow_resize(torch.from_numpy(image), 17, 60)
    for ours, plane in zip(found, image, strict=True):
        assert (ours.numpy() == np.asarray(Image.fromarray(plane).resize((60, 17), Image.Resampling.BICUBIC))).all()


BAD = [
    (torch.zeros(4, 5), 2, 2, r"shape \(4, 5\)"),
    (torch.zeros(3, 0, 5), 2, 2, r"shape \(3, 0, 5\)"),
    (torch.zeros(3, 4, 5, dtype=torch.bool), 2, 2, "torch.bool"),
    (torch.zeros(3, 4, 5, dtype=torch.int64), 2, 2, "torch.int64"),
    (torch.zeros(3, 4, 5, dtype=torch.uint8), 0, 2, "2 x 0 pixels"),
]


@pytest.mark.parametrize("resize", [imresize, opencv_resize, pillow_resize])
@pytest.mark.parametrize(("image", "height", "width", "words"), BAD)
def test_what_cannot_be_resized(resize, image, height, width, words):
    with pytest.raises(ConfigError, match=words):
        resize(image, height, width)


def test_rules_of_bytes_take_bytes():
    for resize in (opencv_resize, pillow_resize):
        with pytest.raises(ConfigError, match="float32.*8-bit"):
            resize(torch.zeros(3, 4, 5), 2, 2)
    with pytest.raises(ConfigError, match="4 channels"):
        pillow_resize(torch.zeros(4, 4, 5, dtype=torch.uint8), 2, 2)
