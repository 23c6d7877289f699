"""What is held out: enough, spread evenly, never trained on, and shown as it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from trees import make_tree, save, told

from residiff.data.catalog import LAYOUTS, open_set
from residiff.data.degrade.table import degrade
from residiff.data.holding_out import carve, validation_pairs, without_copies
from residiff.data.images import Picture
from residiff.data.pairs import PicturePairs
from residiff.data.parts import FilePart, PictureSet
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


# Pictures of one scene


def paired(clean, degraded=None, scene=""):
    """A set of pictures by their numbers, a number being a picture wherever it comes."""
    columns = {"clean": clean, "degraded": range(len(clean)) if degraded is None else degraded}
    return PictureSet(
        "a set", {kind: [Numbered(kind, number) for number in given] for kind, given in columns.items()}, scene
    )


@given(some.lists(some.integers(0, 30), min_size=2, max_size=80), some.floats(0, 1), some.integers(1, 12))
def test_pairs_that_share_a_clean_picture_stay_together(clean, share, most):
    scenes = len(set(clean))
    if scenes < 2:
        with pytest.raises(ConfigError, match="a set shows one scene; to hold some out takes 2, or set validation.on"):
            carve(paired(clean), share, most)
        return
    training, held = carve(paired(clean), share, most)
    seen, kept = set(numbers(training)), set(numbers(held))
    assert not seen & kept and 1 <= len(numbers(held)) <= most
    out = set(clean) - seen
    assert len(out) == min(most, max(1, round(share * scenes)), scenes - 1), "so many scenes are not trained on"
    assert kept <= out and len(numbers(training)) == sum(number in seen for number in clean)
    assert sorted(numbers(training, "degraded")) == numbers(training, "degraded"), "in order"
    for one in (training, held):
        assert numbers(one) == [clean[place] for place in numbers(one, "degraded")], "pairs stay together"


def test_pairs_that_share_a_degraded_picture_stay_together_and_so_by_way_of_others():
    # The first four are a chain: by clean, degraded and clean picture; two more stand alone
    training, held = carve(paired([0, 0, 1, 1, 2, 3], [0, 1, 1, 2, 3, 4]), 0.4, 16)
    assert (numbers(training, "degraded"), numbers(held, "degraded")) in (
        ([3, 4], [0, 1, 1, 2]),
        ([0, 1, 1, 2, 4], [3]),
        ([0, 1, 1, 2, 3], [4]),
    )
    with pytest.raises(ConfigError, match="one scene"):
        carve(paired([0, 0, 1, 1], [0, 1, 1, 2]), 0.5, 16)


def test_of_large_scenes_a_few_are_shown_and_none_is_trained_on():
    training, held = carve(paired([number // 13 for number in range(2093)]), 0.05, 16)
    assert len(numbers(held)) == 16 and len(set(numbers(held))) == 8, "each scene is seen"
    assert len(numbers(training)) == 2093 - 8 * 13 and not set(numbers(held)) & set(numbers(training))
    assert (training.source, held.source) == ("a set, without 104 held out", "a set, 16 of 104 held out")


SCENES = {
    "istd": ("train/train_{kind}/{scene}-{shot}.png", {"clean": "C", "degraded": "A", "mask": "B"}),
    "istd-plus": ("train/train_{kind}/{scene}-{shot}.png", {"clean": "C_fixed_official", "degraded": "A", "mask": "B"}),
    "gopro": ("train/GOPR03{scene:02}_07_00/{kind}/{shot:06}.png", {"clean": "sharp", "degraded": "blur"}),
    "gopro-mprnet": ("train/{kind}/GOPR03{scene:02}_07_00-{shot:06}.png", {"clean": "target", "degraded": "input"}),
    "sidd": (
        "Data/00{shot}{scene}_{scene:03}_S6_00100_00060_3200_L/00{shot}{scene}_{kind}_SRGB_010.PNG",
        {"clean": "GT", "degraded": "NOISY"},
    ),
    "sid-rgb": ("{kind}_sid2/{scene:05}/{scene:05}_0{shot}_0.1s.png", {"clean": "long", "degraded": "short"}),
}


@pytest.mark.parametrize("layout", SCENES)
def test_scenes_that_a_layout_knows_stay_together(layout, tmp_path):
    pattern, kinds = SCENES[layout]
    for scene in range(1, 6):
        for shot in range(1, 5):
            for kind, word in kinds.items():
                if layout != "sid-rgb" or kind == "degraded" or shot == 1:
                    save(tmp_path / pattern.format(kind=word, scene=scene, shot=shot), scene, kind)
    pictures = open_set(tmp_path, layout)
    assert len(pictures) == 20
    training, held = carve(pictures, 0.3, 16)
    seen, kept = ({told(part.read())[0] for part in one.columns["clean"]} for one in (training, held))
    assert len(seen) == 3 and len(kept) == 2 and seen | kept == {1, 2, 3, 4, 5}
    assert len(training) == 12 and len(held) == 8


def test_scenes_are_read_off_paths_for_layouts_that_were_published():
    assert {name for name, row in LAYOUTS.items() if row.scene} == SCENES.keys() - {"sid-rgb"}


# Copies


def test_copies_of_what_is_held_out_are_not_trained_on(tmp_path):
    for index, name in enumerate(["a", "b", "copy of a", "c", "d"]):
        save(tmp_path / f"{name}.png", 0 if name == "copy of a" else index, "clean")
    (tmp_path / "empty.png").write_bytes(b"")
    names = ["a", "b", "copy of a", "gone", "empty", "c", "d"]
    pictures = PictureSet("a set", {"clean": [FilePart(tmp_path / f"{name}.png") for name in names]})
    held = [pictures.select([0], "one"), pictures.select([3, 6], "two")]
    left = without_copies(pictures.select(range(1, 6), "five"), held)
    assert [part.path.stem for part in left.columns["clean"]] == ["b", "gone", "empty", "c"]
    assert left.source == "a set, five, without 1 copy of what is held out"
    same = pictures.select([1, 5], "two others")
    assert without_copies(same, held) is same and without_copies(same, []) is same
    assert without_copies(held[1].select([1], "again"), held) is None


def test_of_unpaired_kinds_each_has_copies_of_its_own(tmp_path):
    make_tree("domains", tmp_path, pairs=6)
    whole = open_set(tmp_path, pairing=Pairing.UNPAIRED, domains=("day", "night"))
    columns = {"clean": whole.columns["clean"], "degraded": [whole.columns["degraded"][place] for place in range(5)]}
    held = PictureSet("held", {kind: [parts[1]] for kind, parts in columns.items()})
    left = without_copies(PictureSet("a set", columns), [held])
    assert {kind: len(parts) for kind, parts in left.columns.items()} == {"clean": 5, "degraded": 4}


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
