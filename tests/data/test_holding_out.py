"""What is held out: enough, spread evenly, never trained on, and shown as it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from residiff.data.degrade.table import degrade
from residiff.data.holding_out import carve, validation_pairs
from residiff.data.images import Picture
from residiff.data.pairs import PicturePairs
from residiff.data.parts import PictureSet
from residiff.data.settings import Augment, DataSettings, Degrade, Pairing, Resize
from residiff.errors import ConfigError, ImageDecodeError
from residiff.seeds import generator


class Numbered:
    """A picture (3, 12, 16) whose first value is its number."""

    def __init__(self, kind, number, size=(12, 16)):
        self.name, self.kind, self.number, self.size = f"{kind}/{number}", kind, number, size

    def read(self):
        if self.number < 0:
            raise ImageDecodeError(f"{self.name} is damaged")
        values = torch.arange(self.size[0] * self.size[1]).reshape(1, *self.size) % 128
        return Picture(((values + self.number + 64 * (self.kind == "degraded")) / 255).expand(3, -1, -1))


def a_set(count, degraded=None, **kinds):
    lengths = {"clean": count, "degraded": count if degraded is None else degraded, **kinds}
    columns = {kind: [Numbered(kind, number) for number in range(length)] for kind, length in lengths.items()}
    return PictureSet("a set", columns)


def numbers(pictures, kind="clean"):
    return [pictures.columns[kind][place].number for place in range(len(pictures.columns[kind]))]


DATA = DataSettings(Degrade("noise"), crop=8, picture=16)


@given(some.integers(2, 300), some.floats(0, 1), some.integers(1, 40))
def test_training_and_held_out_make_up_the_set(total, share, most):
    training, held = carve(a_set(total), share, most)
    assert sorted(numbers(training) + numbers(held)) == list(range(total))
    assert numbers(training) == sorted(numbers(training)) and len(training) >= 1
    assert len(held) == max(1, min(most, round(share * total), total - 1))
    for one in (training, held):
        assert numbers(one) == numbers(one, "degraded"), "pairs stay together"
    gaps = torch.tensor([-1, *numbers(held), total]).diff()
    if len(held) > 1:
        assert gaps[1:-1].max() - gaps[1:-1].min() <= 1, "spread evenly"
        assert (2 * gaps[[0, -1]] - gaps[1:-1].max()).abs().max() <= 3


def test_both_say_what_they_are():
    training, held = carve(a_set(40), 0.1, 16)
    assert training.source == "a set, without 4 held out" and held.source == "a set, 4 held out"
    assert numbers(held) == [5, 15, 25, 35]


def test_unpaired_kinds_of_other_lengths_are_carved_on_their_own():
    training, held = carve(a_set(40, degraded=7), 0.1, 16)
    assert len(held.columns["clean"]) == 4 and numbers(held, "degraded") == [3]
    assert numbers(training, "degraded") == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize(("lengths", "kind"), [((1, 1), "1 clean"), ((0, 0), "0 clean"), ((5, 1), "1 degraded")])
def test_a_set_too_small_is_refused(lengths, kind):
    with pytest.raises(ConfigError, match=f"a set holds {kind} pictures; to hold some out takes 2"):
        carve(a_set(*lengths), 0.1, 16)


@pytest.mark.parametrize(("share", "most", "message"), [(1.1, 1, "share is 1.1"), (0.1, 0, "most is 0")])
def test_what_is_out_of_range_is_refused(share, most, message):
    with pytest.raises(ConfigError, match=message):
        carve(a_set(9), share, most)


@pytest.mark.parametrize("augment", Augment)
def test_the_middle_is_shown_unturned(augment):
    pictures = a_set(3, mask=3)
    found = validation_pairs(pictures, replace(DATA, augment=augment), (8, 10), True, seed=1)
    assert len(found) == 3
    for number, pair in enumerate(found):
        for kind, part in zip(("clean", "degraded", "mask"), pair, strict=True):
            whole = pictures.columns[kind][number].read().pixels[: len(part)]
            assert torch.allclose(part, whole[:, 2:10, 3:13], atol=1e-6)
    assert all(pair.mask.shape[0] == 0 for pair in validation_pairs(pictures, DATA, 8, False, seed=1))


def test_resizing_and_padding_are_those_of_training():
    squashed = validation_pairs(a_set(2), replace(DATA, resize=Resize.SQUASH), 8, False, seed=1)[1]
    training = PicturePairs(a_set(2), replace(DATA, resize=Resize.SQUASH, augment=Augment.NONE), 1, mask=False)
    assert any(torch.equal(squashed.clean, training(index).clean) for index in range(2))
    pad = validation_pairs(a_set(2), replace(DATA, pad=True), 20, False, seed=1)[0]
    assert pad.clean.shape == (3, 20, 20) and (pad.clean[:, 12:] == 0).all() and (pad.clean[:, :, 16:] == 0).all()
    with pytest.raises(ConfigError, match="clean/0 is 16 x 12, smaller than the crop of 20"):
        validation_pairs(a_set(2), DATA, 20, False, seed=1)


@pytest.mark.parametrize("pairing", [Pairing.ORDER, Pairing.UNPAIRED])
def test_unpaired_pictures_stand_side_by_side(pairing):
    pictures = a_set(3, degraded=2)
    found = validation_pairs(pictures, replace(DATA, pairing=pairing), 8, False, seed=1)
    for number, pair in enumerate(found):
        whole = pictures.columns["degraded"][number % 2].read().pixels
        assert torch.equal(pair.degraded, whole[:, 2:10, 4:12])


def test_clean_pictures_are_degraded_always_alike():
    noise = Degrade("noise", {"sigma": 25})
    alone = PictureSet("a set", {"clean": a_set(4).columns["clean"]})
    found = validation_pairs(alone, DATA, 8, False, seed=1, degrade=noise)
    for place, pair in enumerate(found):
        expected = degrade("noise", pair.clean, generator(1, 9, place), noise.parameters).image
        assert torch.equal(pair.degraded, expected)
    still = Degrade("noise", {"sigma": 0})
    another = validation_pairs(alone, replace(DATA, pairing=Pairing.ORDER), 8, False, seed=1, degrade=still)
    assert all(torch.equal(pair.degraded, another[(place + 1) % 4].clean) for place, pair in enumerate(another))


def test_a_picture_that_cannot_be_read_is_named():
    columns = {kind: [Numbered(kind, 0), Numbered(kind, -1)] for kind in ("clean", "degraded")}
    with pytest.raises(ImageDecodeError, match="clean/-1 is damaged"):
        validation_pairs(PictureSet("a set", columns), DATA, 8, False, seed=1)
