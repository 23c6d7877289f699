"""Padding and hidden colours, against what the words mean."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residiff.restore.planes import fill_hidden, pad_to_multiple

side = st.integers(1, 40)


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=100)
@given(side, side, st.sampled_from([1, 2, 3, 4, 8, 16, 64]))
def test_padding_is_numpys_reflection_to_the_next_multiple(height, width, multiple):
    image = random((2, height, width))
    padded = pad_to_multiple(image, multiple)
    wanted = [-(-size // multiple) * multiple for size in (height, width)]
    assert list(padded.shape[1:]) == wanted
    for dim, size in ((1, height), (2, width)):  # numpy reflects nothing about a single pixel
        extra = [(0, 0)] * 3
        extra[dim] = (0, wanted[dim - 1] - size)
        image = torch.from_numpy(np.pad(image.numpy(), extra, "reflect" if size > 1 else "edge"))
    torch.testing.assert_close(padded, image, rtol=0, atol=0)


def test_a_size_that_fits_is_left_alone():
    image = random((3, 8, 16))
    assert pad_to_multiple(image, 8) is image


@settings(deadline=None, max_examples=100)
@given(side, side, st.integers(0, 2**31))
def test_visible_pixels_stay_and_hidden_ones_are_mixtures_of_them(height, width, seed):
    pixels, seen = random((3, height, width), seed), random((1, height, width), seed + 1) > 0.7
    filled = fill_hidden(pixels, seen.float())
    everywhere = seen.expand(3, -1, -1)
    assert torch.equal(filled[everywhere], pixels[everywhere])
    if seen.any():
        for before, after in zip(pixels, filled, strict=True):
            low, high = before[seen[0]].min(), before[seen[0]].max()
            assert low - 1e-5 <= after.min() and after.max() <= high + 1e-5
    else:
        assert not filled.any()


@settings(deadline=None, max_examples=50)
@given(side, side, st.integers(0, 2**31))
def test_hidden_colours_mean_nothing(height, width, seed):
    seen = random((1, height, width), seed) > 0.5
    one, other = random((3, height, width), seed + 1), random((3, height, width), seed + 2)
    both = torch.where(seen, one, other)
    assert torch.equal(fill_hidden(one, seen.float()), fill_hidden(both, seen.float()))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (33, 17), (1, 2000)])
def test_one_visible_pixel_colours_all(size):
    pixels, alpha = random((3, *size)), torch.zeros(1, *size)
    alpha[0, size[0] // 2, size[1] // 2] = 1 / 255  # the faintest counts as visible
    colour = pixels[:, size[0] // 2, size[1] // 2]
    torch.testing.assert_close(fill_hidden(pixels, alpha), colour[:, None, None].expand(3, *size), atol=1e-6, rtol=0)


def test_colours_are_taken_from_nearby():
    pixels, alpha = torch.zeros(1, 64, 64), torch.ones(1, 64, 64)
    pixels[..., 32:] = 1
    alpha[..., 30:34, 4:8] = 0
    alpha[..., 30:34, 56:60] = 0
    filled = fill_hidden(pixels, alpha)
    assert filled[..., 4:8].max() == 0 and filled[..., 56:60].min() > 0.999


def test_nothing_hidden_is_nothing_done():
    pixels = random((3, 5, 5))
    assert fill_hidden(pixels, torch.full((1, 5, 5), 0.01)) is pixels
