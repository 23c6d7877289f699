"""Sizes, crops and turns: what Pillow and the papers' loaders do, and what was drawn when models were trained."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from residiff.data.settings import Augment, Resize
from residiff.data.synthetic import clean_image
from residiff.data.transforms import centre_window, draw_window, padded, resize, size_of
from residiff.errors import ConfigError
from residiff.seeds import generator

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
SIZES = [
    ((218, 178), (64, 64)),
    ((100, 150), (256, 256)),
    ((300, 200), (256, 96)),
    ((33, 47), (64, 64)),
    ((400, 600), (16, 24)),
    ((60, 60), (60, 30)),
]


def pixels(kind, size):
    """8 bits (3, H, W) of a picture, or of noise, whose edges are the hardest there are."""
    if kind == "picture":
        return (clean_image(3, size) * 255).round().to(torch.uint8)
    return torch.randint(0, 256, (3, *size), generator=generator(1), dtype=torch.uint8)


def by_pillow(plane, size, how):
    return torch.from_numpy(np.asarray(Image.fromarray(plane.numpy()).resize(size[::-1], how)).copy())


# As Pillow


@pytest.mark.parametrize(("size", "target"), SIZES)
@pytest.mark.parametrize("kind", ["picture", "noise"])
@pytest.mark.parametrize(("is_mask", "how"), [(False, BICUBIC), (True, BILINEAR)], ids=["picture", "mask"])
def test_resizing_is_pillows_but_for_the_rounding(kind, size, target, is_mask, how):
    whole = pixels(kind, size)
    ours = resize(whole / 255, Resize.SQUASH, target, is_mask=is_mask)
    theirs = torch.stack([by_pillow(plane, target, how) for plane in whole])
    # It rounds after the width and after the height: half a grey level, half of one spread, and its weights'
    assert (ours * 255 - theirs).abs().max() < 1.1
    assert ours.min() >= 0 and ours.max() <= 1 and ours.dtype == torch.float32


@pytest.mark.parametrize(("size", "target"), SIZES)
@pytest.mark.parametrize(("is_mask", "how"), [(False, BICUBIC), (True, BILINEAR)], ids=["picture", "mask"])
def test_without_rounding_resizing_is_pillows(size, target, is_mask, how):
    plane = pixels("picture", size)[0] / 255 * 0.5 + 0.25
    ours = resize(plane[None], Resize.SQUASH, target, is_mask=is_mask)[0]
    assert (ours - by_pillow(plane, target, how)).abs().max() < 1e-5


@pytest.mark.parametrize("how", [Resize.NONE, Resize.SQUASH, Resize.SHORT_SIDE, Resize.MULTIPLE_16])
def test_what_has_its_size_is_left_alone(how):
    image = pixels("noise", (64, 64)) / 255
    assert torch.equal(resize(image, how, (64, 64)), image)


def test_a_resized_mask_is_the_share_that_is_masked():
    mask = torch.zeros(1, 64, 64)
    mask[:, :, 21] = 1
    small = resize(mask, Resize.SQUASH, (16, 16), is_mask=True)
    assert small.mean().item() == pytest.approx(mask.mean().item(), rel=1e-5), "a thin stroke is not lost"
    assert small.max() < 0.5 and small.min() == 0


def test_a_picture_is_not_written_to():
    image = pixels("noise", (40, 30)) / 255
    before = image.clone()
    for how in Resize:
        if how is not Resize.CELEBA:
            resize(image, how, (16, 8))
    padded(image, (64, 64)).add_(1)
    assert torch.equal(image, before)


# Sizes


@pytest.mark.parametrize(
    ("size", "crop", "target"),
    [
        ((480, 640), (256, 256), (256, 341)),
        ((640, 480), (256, 256), (341, 256)),
        ((100, 100), (256, 256), (256, 256)),
        ((300, 300), (64, 96), (96, 96)),
        ((300, 900), (64, 96), (64, 192)),
        ((200, 300), (64, 96), (64, 96)),
    ],
)
def test_the_short_side_is_the_crops_in_proportion(size, crop, target):
    assert size_of(resize(torch.zeros(1, *size), Resize.SHORT_SIDE, crop)) == target


@given(*[some.integers(8, 60)] * 4)
def test_the_short_side_holds_the_crop_and_no_more(height, width, crop_height, crop_width):
    found = size_of(resize(torch.zeros(1, height, width), Resize.SHORT_SIDE, (crop_height, crop_width)))
    assert found[0] >= crop_height and found[1] >= crop_width
    assert found[0] == crop_height or found[1] == crop_width
    assert abs(found[0] * width - found[1] * height) <= max(height, width)


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((480, 720), (480, 720)),
        ((481, 719), (496, 720)),
        ((1536, 2048), (768, 1024)),
        ((2048, 1000), (1024, 512)),
        ((1000, 1025), (1008, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((20, 3000), (16, 1024)),
        ((33, 1030), (48, 1024)),
    ],
)
def test_sides_are_multiples_of_16_and_at_most_1024(size, target):
    assert size_of(resize(torch.zeros(1, *size), Resize.MULTIPLE_16, (8, 8))) == target


def test_celebas_face_is_cut_as_published():
    rows, columns = torch.meshgrid(torch.arange(218), torch.arange(178), indexing="ij")
    whole = torch.stack([rows, columns, rows]) / 255
    face = resize(whole, Resize.CELEBA, (128, 128))
    assert torch.equal(face, whole[:, 57:185, 25:153])
    small = resize(whole, Resize.CELEBA, (64, 64))
    assert size_of(small) == (64, 64) and torch.allclose(small, face[:, ::2, ::2], atol=1.1 / 255)
    with pytest.raises(ConfigError, match="178 x 184 pixels are too few for data.resize celeba, which takes 153 x 185"):
        resize(whole[:, :184], Resize.CELEBA, (64, 64))


def test_black_is_added_to_the_right_and_below():
    image = torch.ones(3, 5, 9)
    assert padded(image, (5, 9)) is image and padded(image, (4, 4)) is image
    for size, target in (((8, 8), (8, 9)), ((2, 12), (5, 12)), ((6, 10), (6, 10))):
        found = padded(image, size)
        assert size_of(found) == target and torch.equal(found[:, :5, :9], image) and found.sum() == image.sum()


# Crops and turns


def test_windows_are_those_that_models_were_trained_on():
    drawn = [draw_window((20, 30), (8, 8), Augment.TURNS, generator(10, 3, index)) for index in range(4)]
    assert [(one.top, one.left, one.turn) for one in drawn] == [(6, 11, 5), (4, 9, 6), (12, 14, 2), (8, 11, 5)]


@given(*[some.integers(1, 12)] * 4, some.sampled_from([Augment.MIRROR, Augment.ALWAYS_MIRROR, Augment.NONE]))
def test_a_window_is_a_part_of_the_picture(crop_height, crop_width, more_rows, more_columns, augment):
    size = (crop_height + more_rows, crop_width + more_columns)
    whole = torch.arange(size[0] * size[1]).reshape(1, *size).float()
    window = draw_window(size, (crop_height, crop_width), augment, generator(more_rows))
    part = window.cut(whole)
    assert size_of(part) == (crop_height, crop_width) and part.is_contiguous()
    part = part.flip(2) if window.turn == 4 else part
    assert part[0, 0, 0] == window.top * size[1] + window.left
    assert (part.diff(dim=2) == 1).all() and (part.diff(dim=1) == size[1]).all()


@pytest.mark.parametrize(("size", "corner"), [((8, 12), (0, 0)), ((9, 13), (0, 0)), ((10, 20), (1, 4))])
def test_the_middle_is_in_the_middle(size, corner):
    window = centre_window(size, (8, 12))
    assert (window.top, window.left, window.height, window.width, window.turn) == (*corner, 8, 12, 0)
