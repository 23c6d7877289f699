"""Noise fields: any rows of them are those of the whole, whatever is asked for and in which order."""

from __future__ import annotations

import pytest
import torch

from residiff.noise import BAND, NoiseField, seeded_noise


@pytest.mark.parametrize(
    ("top", "bottom"), [(0, 1), (5, 60), (BAND - 1, BAND + 1), (BAND, 2 * BAND), (0, 150), (149, 150)]
)
def test_rows_are_those_of_the_whole(top: int, bottom: int) -> None:
    field = NoiseField(7, 3, 150, 17)
    assert torch.equal(field.rows(2, top, bottom), field.whole(2)[:, top:bottom])


def test_the_first_field_is_where_sampling_starts() -> None:
    source, field = seeded_noise(5, (1, 3, 70, 9)), NoiseField(5, 3, 70, 9)
    for number in range(3):
        assert torch.equal(source()[0], field.whole(number))


def test_the_height_plays_no_part() -> None:
    assert torch.equal(NoiseField(1, 3, 20, 8).whole(0), NoiseField(1, 3, 200, 8).rows(0, 0, 20))


def test_fields_bands_and_seeds_are_unrelated() -> None:
    field = NoiseField(0, 3, 4 * BAND, 64)
    parts = [field.rows(n, b * BAND, (b + 1) * BAND).flatten() for n in range(2) for b in range(4)]
    parts.append(NoiseField(1, 3, BAND, 64).whole(0).flatten())
    related = torch.corrcoef(torch.stack(parts)) - torch.eye(len(parts))
    assert related.abs().max() < 5 / len(parts[0]) ** 0.5


def test_standard_normal() -> None:
    values = NoiseField(3, 3, 256, 256).whole(0)
    assert abs(float(values.mean())) < 0.01
    assert abs(float(values.std()) - 1) < 0.01
    assert float(values.pow(4).mean()) == pytest.approx(3, abs=0.1)
