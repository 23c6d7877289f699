"""Several samples of a picture: their mean and spread are those of all at once, and antithetic noise cancels."""

from __future__ import annotations

import pytest
import torch

from residiff.data.images import Picture
from residiff.errors import ConfigError
from residiff.prediction import Estimate
from residiff.restore.answers import Draw, Gathered, draws
from residiff.restore.keeping import Known, keep_known


def drawn(seed: int, size: tuple[int, int, int] = (3, 20, 24)) -> Picture:
    return Picture(torch.rand(size, generator=torch.Generator().manual_seed(seed)))


def gathered(count: int):
    found = Gathered()
    for seed in range(count):
        found.add(drawn(seed))
    return found.answers()


def test_mean_and_deviation_by_hand() -> None:
    answers, every = gathered(7), torch.stack([drawn(seed).pixels.double() for seed in range(7)])
    torch.testing.assert_close(answers.mean.pixels.double(), every.mean(0), rtol=0, atol=1e-6)
    expected = every.var(0).mean(0, keepdim=True).sqrt()
    torch.testing.assert_close(answers.deviation.double(), expected, rtol=0, atol=1e-6)
    assert answers.count == 7


def test_one_sample_is_itself_and_sure() -> None:
    answers = gathered(1)
    assert torch.equal(answers.mean.pixels, drawn(0).pixels) and not answers.deviation.any()
    assert torch.allclose(answers.doubt().pixels, drawn(0).pixels.mean(0, keepdim=True).expand(3, -1, -1))


def test_where_samples_disagree_is_marked() -> None:
    found = Gathered()
    for level in (0.3, 0.7):
        pixels = torch.full((3, 8, 8), 0.5)
        pixels[:, :, 4:] = level
        found.add(Picture(pixels))
    answers = found.answers()
    assert answers.deviation[0, 0].tolist() == pytest.approx([0.0] * 4 + [0.4 / 2**0.5] * 4, abs=1e-6)
    doubt, shown = answers.doubt().pixels, answers.deviation_picture()
    assert torch.equal(doubt[0, :, :4], doubt[1, :, :4]) and (doubt[0, :, 4:] > doubt[1, :, 4:] + 0.3).all()
    assert shown.bit_depth == 16 and shown.pixels[0, 0, 5] == pytest.approx(0.8 / 2**0.5, abs=1e-6)


def test_seeds() -> None:
    assert list(draws(5, 3, antithetic=False)) == [Draw(5), Draw(6), Draw(7)]
    assert list(draws(5, 3, antithetic=True)) == [Draw(5), Draw(5, negative=True), Draw(6)]
    with pytest.raises(ConfigError, match="samples is 0"):
        list(draws(0, 0, antithetic=True))


def test_nothing_was_gathered() -> None:
    with pytest.raises(RuntimeError):
        Gathered().answers()


def test_known_pixels_are_kept_and_others_left() -> None:
    x_in, x0, noise = (drawn(seed).pixels[None] for seed in range(3))
    work = torch.zeros(1, 1, 20, 24)
    work[..., 12:] = 1
    work[..., 10:12] = 0.25
    found = keep_known(Estimate(x0, x_in - x0, noise), x_in, Known(x_in, work))
    assert torch.equal(found.x0[..., :10], x_in[..., :10]) and not found.residual[..., :10].any()
    torch.testing.assert_close(found.x0[..., 12:], x0[..., 12:])
    torch.testing.assert_close(found.x0[..., 10:12], (0.75 * x_in + 0.25 * x0)[..., 10:12])
    torch.testing.assert_close(found.x0 + found.residual, x_in)
    assert torch.equal(found.noise, noise)
