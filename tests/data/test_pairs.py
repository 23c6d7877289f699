"""Training pairs: pure functions of their number, and sets of pictures whose faults are named."""

import pickle
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
from PIL import Image

from residiff.data import pairs as module
from residiff.data.degrade.table import DEGRADATIONS, degrade
from residiff.data.pairs import Order, PicturePairs, SyntheticPairs
from residiff.data.parts import FilePart, PictureSet
from residiff.data.settings import Augment, DataSettings, Degrade, Pairing, Resize
from residiff.data.transforms import resize
from residiff.errors import ConfigError, ImageDecodeError, ImageError
from residiff.recipe import override, parse, read
from residiff.restore import Restorer, generate
from residiff.seeds import generator

NOISE = Degrade("noise")
SMALL = DataSettings(NOISE, crop=8, picture=16, reuse=2, window=3)
NAMES = ("a", "b", "c", "d", "e")


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def ramp(height, width, shade):
    """Rows in red, columns in green, which picture in blue: a crop tells where it is from."""
    rows = torch.arange(height).reshape(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    return torch.stack([rows, columns, torch.full((height, width), shade)]).to(torch.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(path)


@pytest.fixture
def folder(tmp_path):
    for shade, name in enumerate(NAMES):
        clean = ramp(12 + shade, 14, 40 * shade)
        save(tmp_path / "clean" / f"{name}.png", clean)
        save(tmp_path / "degraded" / f"{name}.png", clean + 100)
        save(tmp_path / "mask" / f"{name}.png", clean)
    return tmp_path


def pictures(folder, *kinds):
    """The set of a folder's pictures, in the order of their names."""
    columns = {kind: [FilePart(path) for path in sorted((folder / kind).iterdir())] for kind in kinds}
    return PictureSet("a set", columns)


def paired(folder, data, seed, *, mask):
    """Pairs of a folder that has all three kinds."""
    return PicturePairs(pictures(folder, "clean", "degraded", "mask"), data, seed, mask=mask)


def unpaired(folder, data, seed):
    """Pairs of a folder without masks."""
    return PicturePairs(pictures(folder, "clean", "degraded"), data, seed, mask=False)


# Procedural pairs


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_pairs_of_every_degradation(name):
    pair = SyntheticPairs(DataSettings(Degrade(name), crop=16, picture=16, window=1), 0)(3)
    assert pair.clean.shape == pair.degraded.shape == (3, 16, 16)
    assert pair.mask.shape == (int(DEGRADATIONS[name].gives_mask), 16, 16)
    for part in pair:
        assert part.dtype == torch.float32
        assert part.is_contiguous()
        assert ((part >= 0) & (part <= 1)).all()
    assert not torch.equal(pair.clean, pair.degraded)


def test_a_pair_depends_on_its_number_and_the_seed_alone():
    forwards, backwards = SyntheticPairs(SMALL, 1), SyntheticPairs(SMALL, 1)
    there = {index: forwards(index) for index in range(6)}
    back = {index: backwards(index) for index in reversed(range(6))}
    assert all(same(there[index], back[index]) for index in there)
    assert not any(same(there[index], SyntheticPairs(SMALL, 2)(index)) for index in there)
    assert len({pair.clean.numpy().tobytes() for pair in there.values()}) == 6


def test_the_global_generator_plays_no_part():
    torch.manual_seed(0)
    first = SyntheticPairs(SMALL, 1)(4)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert same(first, SyntheticPairs(SMALL, 1)(4))
    assert torch.equal(state, torch.get_rng_state())


def test_crops_come_from_the_window_of_pictures(monkeypatch):
    drawn = []

    def flat(index, size, seed):
        drawn.append(index)
        return torch.full((3, size, size), (index % 200) / 255)

    monkeypatch.setattr(module, "clean_image", flat)
    data = DataSettings(NOISE, crop=8, picture=16, reuse=4, window=5)
    source = SyntheticPairs(data, 0)
    for index in range(400):
        picture = round(source(index).clean[0, 0, 0].item() * 255)
        assert index // 4 <= picture < index // 4 + 5
    assert max(Counter(drawn).values()) == 1
    assert len(source.pictures) <= 5


def test_every_crop_and_every_turn_is_met(monkeypatch):
    monkeypatch.setattr(module, "clean_image", lambda _index, size, _seed: ramp(size, size, 0).float() / 255)
    source = SyntheticPairs(DataSettings(NOISE, crop=8, picture=10, window=1), 0)
    seen = {
        tuple((pair.clean[:2, (0, 0, 7), (0, 7, 0)] * 255).round().int().flatten().tolist())
        for pair in map(source, range(900))
    }
    assert len(seen) == 3 * 3 * 8


def test_procedural_pairs_travel_to_a_worker():
    source = SyntheticPairs(SMALL, 1, mask=False)
    first = source(0)
    data = pickle.dumps(source)
    assert len(data) < 2000, "the cache travels along"
    assert same(pickle.loads(data)(0), first)
    assert source.pictures and not pickle.loads(data).mask


def test_a_mask_that_is_not_wanted_is_left_out():
    data = replace(SMALL, degrade=Degrade("shadow"))
    shown, hidden = SyntheticPairs(data, 1)(3), SyntheticPairs(data, 1, mask=False)(3)
    assert shown.mask.shape == (1, 8, 8) and hidden.mask.shape == (0, 8, 8)
    assert torch.equal(shown.degraded, hidden.degraded)


WIDE = replace(SMALL, crop=(8, 12), augment=Augment.MIRROR)


def test_crops_may_be_rectangular(folder):
    for source in (SyntheticPairs(WIDE, 1), paired(folder, WIDE, 1, mask=True)):
        pair = source(2)
        assert pair.clean.shape == pair.degraded.shape == (3, 8, 12)
    assert pair.mask.shape == (1, 8, 12)
    clean = {tuple(paired(folder, WIDE, 1, mask=True)(index).clean[1, 0, [0, -1]].tolist()) for index in range(60)}
    columns = {tuple(round(255 * value) for value in ends) for ends in clean}
    assert columns == {ends for left in range(3) for ends in ((left, left + 11), (left + 11, left))}


def test_rectangular_settings():
    assert (WIDE.height, WIDE.width, WIDE.crop_size) == (8, 12, (8, 12))
    assert (SMALL.height, SMALL.width, SMALL.crop_size) == (8, 8, (8, 8))
    assert same(SyntheticPairs(replace(SMALL, crop=(8, 8)), 1)(0), SyntheticPairs(SMALL, 1)(0))


def test_a_recipe_says_so_and_its_network_must_take_it():
    recipe = override(read("tiny"), ["data.crop=[16,24]", "data.augment=mirror"])
    assert recipe.data.crop_size == (16, 24) and parse(recipe.toml()) == recipe
    for crop in ("[16,18]", "[18,16]"):
        with pytest.raises(ConfigError, match="; this network needs a multiple of 4"):
            override(read("tiny"), [f"data.crop={crop}", "data.augment=mirror"])
    with pytest.raises(ConfigError, match="quarter turns"):
        override(read("tiny"), ["data.crop=[16,24]"])


def test_what_was_trained_on_rectangles_makes_them(untrained):
    settings = ["task=generate", "network.shows_input=false", "data.degrade={name='blank'}"]
    model = untrained(*settings, "data.crop=[8,16]", "data.augment=mirror", "sampling.steps=1")
    made = [one.picture.shape for maker in [Restorer(model, "cpu")] for one in generate(maker, 2)]
    assert made == [(3, 8, 16)] * 2
    assert next(iter(generate(Restorer(model, "cpu"), 1, size=12))).picture.shape == (3, 12, 12)


@pytest.mark.parametrize("pairing", [Pairing.ORDER, Pairing.UNPAIRED])
def test_procedural_translation_degrades_another_picture(pairing):
    data = DataSettings(Degrade("night"), crop=16, picture=32, reuse=2, window=20, pairing=pairing)
    source, paired = SyntheticPairs(data, 1), SyntheticPairs(replace(data, pairing=Pairing.NAME), 1)
    alike = []
    for index in range(30):
        pair, own = source(index), paired(index)
        assert torch.equal(pair.clean, own.clean)
        alike.append([correlation(each.clean, each.degraded) for each in (pair, own)])
    another, own = torch.tensor(alike).T
    assert own.min() > 0.6 and abs(another.mean()) < 0.3 and another.min() < 0
    assert same(SyntheticPairs(data, 1)(7), source(7))
    assert source.source == "procedural, night, unpaired"


def correlation(one, other):
    return torch.corrcoef(torch.stack([one.mean(0).flatten(), other.mean(0).flatten()]))[0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 1, "pairing": Pairing.UNPAIRED}, "window is 1; allowed are 2 to"),
        ({"crop": 7}, "crop is 7"),
        ({"crop": 10**9}, "crop is 1000000000; allowed are 8 to 4096"),
        ({"crop": (16, 7), "augment": Augment.NONE}, "crop is 7"),
        ({"crop": (8, 12)}, r"crop is \(8, 12\), which quarter turns.*; set augment = mirror, always-mirror or none"),
        ({"crop": (8, 24), "augment": Augment.NONE}, "picture is 16; allowed are 24 to"),
        ({"crop": 64, "picture": 63}, "picture is 63; allowed are 64 to 4096"),
        ({"picture": 10**9}, "picture is 1000000000"),
        ({"reuse": 0}, "reuse is 0"),
        ({"window": 0}, "window is 0"),
        ({"window": 10**9}, "window is 1000000000"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("noize", {}, "did you mean 'noise'"),
        ("noise", {"sigmas": 5}, "did you mean 'sigma'"),
        ("noise", {"sigma": (50, 5)}, "sigma"),
        ("noise", {"sigma": (5,)}, "sigma"),
        ("noise", {"sigma": -1}, "sigma"),
        ("noise", {"sigma": float("nan")}, "sigma"),
    ],
)
def test_a_degradation_is_checked_before_anything_is_made(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticPairs(DataSettings(Degrade(name, parameters)), 0)


# Orders


def test_draws_are_those_that_models_were_trained_on():
    order, partners = Order(7, 10, 2), Order(5, 10, 6)
    assert [order[index] for index in range(14)] == [1, 6, 4, 0, 3, 5, 2, 5, 0, 4, 3, 2, 6, 1]
    assert [partners[index] for index in range(10)] == [3, 1, 0, 2, 4, 0, 2, 3, 1, 4]


def test_an_order_is_the_same_from_wherever_it_is_asked():
    order, far = Order(50, 1), 2**40
    there = [order[index] for index in range(400)]
    assert [order[index] for index in reversed(range(400))] == there[::-1]
    assert sorted(order[far - far % 50 + index] for index in range(50)) == list(range(50))
    assert pickle.loads(pickle.dumps(order))[123] == there[123] and len(pickle.dumps(order)) < 200


def test_a_look_up_costs_next_to_nothing_and_keeps_little():
    order = Order(100_000, 1)
    began = time.process_time()
    for index in range(100_000):
        order[index]
    assert time.process_time() - began < 100_000 * 20e-6
    for epoch in range(1, 9):
        order[epoch * 100_000]
    assert order._epoch.cache_info().currsize <= 4 and order._epoch.cache_info().misses == 9


# Sets of pictures


def test_a_mask_that_is_needed_must_be_there(folder):
    assert paired(folder, SMALL, 0, mask=True)(0).mask.shape == (1, 8, 8)
    assert paired(folder, SMALL, 0, mask=False)(0).mask.shape == (0, 8, 8)
    with pytest.raises(ConfigError, match="a set has no masks, which the recipe needs"):
        PicturePairs(pictures(folder, "clean", "degraded"), SMALL, 0, mask=True)


def test_what_is_not_asked_for_is_not_read(folder):
    for path in (folder / "mask").iterdir():
        path.write_bytes(b"")
    assert paired(folder, SMALL, 0, mask=False)(0).clean.shape == (3, 8, 8)


def test_a_set_says_what_it_is_and_what_its_pairs_show(folder):
    source = paired(folder, SMALL, 7, mask=True)
    assert source.source == "a set" and source.size == 5
    assert {source.name(index) for index in range(5)} == {str(folder / "clean" / f"{name}.png") for name in NAMES}
    for index in range(5):
        shade = round(source(index).clean[2, 0, 0].item() * 255) // 40
        assert source.name(index).endswith(f"{NAMES[shade]}.png")


def test_each_picture_comes_once_an_epoch_in_an_order_of_its_own(folder):
    source = paired(folder, SMALL, 7, mask=False)
    epochs = [[round(source(5 * epoch + i).clean[2, 0, 0].item() * 255) // 40 for i in range(5)] for epoch in range(12)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 6
    other = paired(folder, SMALL, 8, mask=False)
    assert [round(other(i).clean[2, 0, 0].item() * 255) // 40 for i in range(60)] != sum(epochs, [])


def test_the_parts_of_a_pair_are_cropped_and_turned_alike(folder):
    source = paired(folder, SMALL, 7, mask=True)
    places, turns = set(), set()
    for index in range(120):
        pair = source(index)
        assert pair.clean.shape == pair.degraded.shape == (3, 8, 8)
        assert torch.equal(((pair.clean * 255).round() + 100) % 256, (pair.degraded * 255).round())
        assert torch.allclose(pair.mask[0], pair.clean.mean(0), atol=1e-6)
        rows, columns = (pair.clean[:2] * 255).round().int()
        places.add((int(rows.min()), int(columns.min())))
        turns.add((int(rows[0, 0] - rows.min()), int(columns[0, 0] - columns.min()), bool(rows[0, 0] == rows[0, 7])))
        assert int(rows.max() - rows.min()) == int(columns.max() - columns.min()) == 7
    assert len(turns) == 8
    assert {column for _, column in places} == set(range(7))
    assert {row for row, _ in places} >= set(range(5))


@pytest.mark.parametrize(
    ("augment", "mirrored"),
    [(Augment.NONE, {False}), (Augment.MIRROR, {False, True}), (Augment.ALWAYS_MIRROR, {True})],
)
def test_crops_are_mirrored_left_to_right_as_published_and_turned_no_other_way(monkeypatch, augment, mirrored):
    monkeypatch.setattr(module, "clean_image", lambda _index, size, _seed: ramp(size, size, 0).float() / 255)
    source = SyntheticPairs(DataSettings(NOISE, crop=8, picture=10, window=1, augment=augment), 0)
    seen = set()
    for index in range(40):
        rows, columns = source(index).clean[:2]
        assert (rows.diff(dim=0) > 0).all() and rows.diff(dim=1).abs().max() == 0, "rows grow downwards still"
        seen.add(bool(columns[0, 0] > columns[0, 7]))
    assert seen == mirrored


def test_a_pair_of_a_folder_depends_on_its_number_alone(folder):
    source = paired(folder, SMALL, 7, mask=True)
    there = [source(index) for index in range(10)]
    again = paired(folder, SMALL, 7, mask=True)
    assert all(same(again(index), there[index]) for index in reversed(range(10)))
    assert same(pickle.loads(pickle.dumps(source))(3), there[3])


@pytest.mark.parametrize("kind", ["degraded", "mask"])
def test_pictures_that_differ_in_size_are_named(folder, kind):
    for name in NAMES:
        save(folder / kind / f"{name}.png", ramp(12, 30, 0))
    with pytest.raises(ConfigError, match=r"clean/\w.png and its partners differ in size"):
        paired(folder, SMALL, 0, mask=True)(0)


def test_a_picture_smaller_than_the_crop_is_named(folder):
    data = DataSettings(NOISE, crop=16, picture=16)
    with pytest.raises(ConfigError, match=r"clean/\w.png is 14 x 1\d, smaller than the crop of 16; set .*data.pad"):
        paired(folder, data, 0, mask=False)(0)
    with pytest.raises(ConfigError, match=r"is 14 x 1\d, smaller than the crop of 16 x 8"):
        paired(folder, replace(data, crop=(8, 16), augment=Augment.NONE), 0, mask=False)(0)
    data = replace(data, crop=40, picture=40, resize=Resize.MULTIPLE_16)
    with pytest.raises(ConfigError, match="is 16 x 16 after data.resize multiple-16, smaller than the crop of 40"):
        paired(folder, data, 0, mask=False)(0)


def test_a_picture_of_just_the_crop_is_whole(tmp_path):
    for kind in ("clean", "degraded"):
        save(tmp_path / kind / "a.png", ramp(8, 8, 0))
    pair = unpaired(tmp_path, SMALL, 0)(0)
    assert sorted((pair.clean[0] * 255).round().flatten().tolist()) == sorted(ramp(8, 8, 0)[0].flatten().tolist())


@pytest.mark.parametrize("kind", ["clean", "degraded", "mask"])
@pytest.mark.parametrize("damage", [b"", b"not an image", "cut"])
def test_a_damaged_picture_is_an_image_error_that_names_it(folder, kind, damage):
    for name in NAMES:
        path = folder / kind / f"{name}.png"
        path.write_bytes(path.read_bytes()[:60] if damage == "cut" else damage)
    with pytest.raises(ImageError, match=rf"{kind}/\w.png") as caught:
        paired(folder, SMALL, 0, mask=True)(0)
    assert damage != "cut" or isinstance(caught.value, ImageDecodeError)


def test_grey_pictures_become_three_channels(tmp_path):
    for kind in ("clean", "degraded"):
        (tmp_path / kind).mkdir()
        Image.fromarray(ramp(8, 9, 0)[1].numpy()).save(tmp_path / kind / "a.png")
    clean = unpaired(tmp_path, SMALL, 0)(0).clean
    assert clean.shape == (3, 8, 8)
    assert torch.equal(clean[0], clean[2])


# Folders whose pictures have no partners


@pytest.fixture
def domains(tmp_path):
    """Four clean and three degraded pictures without a name or a size in common."""
    for shade in range(4):
        save(tmp_path / "clean" / f"day{shade}.png", ramp(12, 14, 40 * shade))
    for shade in range(3):
        save(tmp_path / "degraded" / f"night{shade}.png", ramp(20 + shade, 9, 40 * shade + 5))
    return tmp_path


def shades(pair):
    """The numbers of the clean and of the degraded picture."""
    return tuple(round(part[2, 0, 0].item() * 255) // 40 for part in pair[:2])


ORDERED, UNPAIRED = replace(SMALL, pairing=Pairing.ORDER), replace(SMALL, pairing=Pairing.UNPAIRED)


def test_pictures_without_partners_need_another_pairing(domains):
    with pytest.raises(ConfigError, match="a set holds 4 clean and 3 degraded pictures, which are no pairs"):
        unpaired(domains, SMALL, 0)


def test_by_order_the_lists_lie_side_by_side(domains):
    source = unpaired(domains, ORDERED, 7)
    for epoch in range(5):
        met = [shades(source(4 * epoch + index)) for index in range(4)]
        assert sorted(met) == [(0, 0), (1, 1), (2, 2), (3, 0)]


def test_unpaired_pictures_meet_anew_each_epoch(domains):
    source = unpaired(domains, UNPAIRED, 7)
    met = [shades(source(index)) for index in range(120)]
    assert set(met) == {(one, other) for one in range(4) for other in range(3)}
    for first in range(0, 120, 4):
        assert sorted(one for one, _ in met[first : first + 4]) == [0, 1, 2, 3]
    for first in range(0, 120, 3):
        assert sorted(other for _, other in met[first : first + 3]) == [0, 1, 2]
    chances = Counter(met).values()
    assert min(chances) >= 3 and max(chances) <= 22
    again, other = (unpaired(domains, UNPAIRED, seed) for seed in (7, 8))
    assert same(again(33), source(33)) and met != [shades(other(index)) for index in range(120)]


def test_unpaired_pictures_meet_anew_where_there_are_as_many_of_both(domains):
    save(domains / "degraded" / "night3.png", ramp(12, 9, 125))
    source = unpaired(domains, UNPAIRED, 7)
    assert len({shades(source(index)) for index in range(120)}) == 16


def test_unpaired_pictures_are_cropped_each_in_its_own_way(domains):
    source, differ = unpaired(domains, UNPAIRED, 7), 0
    for index in range(40):
        pair = source(index)
        assert pair.clean.shape == pair.degraded.shape == (3, 8, 8) and pair.mask.shape == (0, 8, 8)
        differ += not torch.equal(pair.clean[:2], pair.degraded[:2])
    assert differ > 30


@pytest.mark.parametrize("data", [ORDERED, UNPAIRED], ids=["order", "unpaired"])
def test_what_an_unpaired_set_lacks_is_named(domains, data):
    with pytest.raises(ConfigError, match=f"pairing is {data.pairing.value}, and the recipe needs masks"):
        PicturePairs(pictures(domains, "clean", "degraded"), data, 0, mask=True)
    with pytest.raises(ConfigError, match="degraded/night.*is 9 x 2., smaller than the crop of 12"):
        unpaired(domains, replace(data, crop=12), 0)(0)
    for path in (domains / "degraded").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="a set holds no images"):
        unpaired(domains, data, 0)


# Masks from files


@pytest.fixture
def masked(tmp_path):
    for shade in range(3):
        save(tmp_path / "clean" / f"{shade}.png", ramp(12, 14, 40 * shade))
        mask = torch.zeros(3, 12, 14, dtype=torch.uint8)
        mask[:, :, : 4 + shade], mask[:, :3] = 255, 120
        save(tmp_path / "mask" / f"{shade}.png", mask)
    return tmp_path


FROM_MASKS = replace(SMALL, from_masks=True)


@pytest.mark.parametrize("pairing", Pairing)
def test_masks_from_files_make_holes(masked, pairing):
    source = PicturePairs(pictures(masked, "clean", "mask"), replace(FROM_MASKS, pairing=pairing), 7, mask=True)
    missing = 0
    for index in range(20):
        pair = source(index)
        assert set(pair.mask.unique().tolist()) <= {0.0, 1.0}, "grey is not missing"
        hole = (pair.mask == 1).expand_as(pair.clean)
        assert (pair.degraded[hole] == 0.5).all() and torch.equal(pair.degraded[~hole], pair.clean[~hole])
        missing += int(hole.sum())
        if pairing is Pairing.NAME:
            rows, columns = (pair.clean[:2] * 255).round()
            shade = round(pair.clean[2, 0, 0].item() * 255) // 40
            assert torch.equal(hole[0], (columns < 4 + shade) & (rows >= 3))
    assert missing > 0


def test_masks_from_files_may_stay_hidden(masked):
    files = pictures(masked, "clean", "mask")
    shown, hidden = (PicturePairs(files, FROM_MASKS, 7, mask=mask)(0) for mask in (True, False))
    assert hidden.mask.shape == (0, 8, 8) and torch.equal(shown.degraded, hidden.degraded)


def test_masks_from_files_need_files(masked):
    with pytest.raises(ConfigError, match="from_masks needs a folder"):
        SyntheticPairs(FROM_MASKS, 0)
    with pytest.raises(ConfigError, match="a set has no masks"):
        PicturePairs(pictures(masked, "clean"), FROM_MASKS, 0, mask=False)


# Degraded on the fly


SHADOW = Degrade("shadow", {"coverage": 0.5})


def test_clean_pictures_alone_are_degraded_on_the_fly(folder):
    data = replace(SMALL, degrade=Degrade("blank"))
    source = PicturePairs(pictures(folder, "clean"), data, 7, mask=False)
    assert source.source == "a set, blank"
    whole = paired(folder, data, 7, mask=False)
    for index in range(10):
        pair = source(index)
        assert torch.equal(pair.clean, whole(index).clean) and (pair.degraded == 0.5).all()
        assert pair.mask.shape == (0, 8, 8)


def test_a_degradation_may_take_the_place_of_what_there_is(folder):
    everything = pictures(folder, "clean", "degraded", "mask")
    source, hidden = (PicturePairs(everything, SMALL, 7, mask=mask, degrade=SHADOW) for mask in (True, False))
    assert source.source == "a set, shadow"
    made = set()
    for index in range(12):
        pair = source(index)
        assert pair.mask.shape == (1, 8, 8) and hidden(index).mask.shape == (0, 8, 8)
        expected = degrade("shadow", pair.clean, generator(7, 8, index), SHADOW.parameters)
        assert torch.equal(pair.degraded, expected.image) and torch.equal(pair.mask, expected.mask)
        made.add(pair.degraded.numpy().tobytes())
    assert len(made) == 12 and same(pickle.loads(pickle.dumps(source))(5), source(5))


@pytest.mark.parametrize("pairing", [Pairing.ORDER, Pairing.UNPAIRED])
def test_on_the_fly_translation_degrades_another_picture(folder, pairing):
    blurless = Degrade("noise", {"sigma": 0})
    data = replace(SMALL, pairing=pairing, degrade=blurless)
    source = PicturePairs(pictures(folder, "clean"), data, 7, mask=False)
    met = {shades(source(index)) for index in range(100)}
    assert met == {(one, other) for one in range(5) for other in range(5)}


def test_a_degradation_that_cannot_serve_is_refused(folder):
    everything = pictures(folder, "clean")
    with pytest.raises(ConfigError, match="noise gives none"):
        PicturePairs(everything, SMALL, 0, mask=True)
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        PicturePairs(everything, SMALL, 0, mask=False, degrade=Degrade("noize"))


# Whole pictures made another size first


def test_pictures_of_one_pair_are_resized_alike(folder):
    data = replace(SMALL, resize=Resize.SQUASH, augment=Augment.NONE)
    source = paired(folder, data, 7, mask=True)
    pair = source(0)
    whole = FilePart(folder / "mask" / source.name(0)[-5:]).read().pixels.mean(0, keepdim=True)
    assert torch.equal(pair.mask, resize(whole, Resize.SQUASH, (8, 8), is_mask=True)), "masks linearly"
    rows, columns = pair.clean[:2] * 255
    assert pair.degraded.shape == (3, 8, 8) and pair.mask.shape == (1, 8, 8)
    assert rows.diff(dim=0).min() > 1 and columns.diff(dim=1).min() > 1.5, "the whole picture is shown"
    assert torch.allclose(pair.degraded[:2] * 255 - 100, pair.clean[:2] * 255, atol=0.01)


def test_small_pictures_are_padded(folder):
    data = replace(SMALL, crop=16, pad=True, augment=Augment.NONE)
    pair = paired(folder, data, 7, mask=True)(1)
    height = int((pair.degraded[0, :, 0] > 0).sum())
    assert height in range(12, 17) and (pair.degraded[:, height:] == 0).all() and (pair.degraded[:, :, 14:] == 0).all()
    assert (pair.clean[1, 0, :14] * 255).round().tolist() == list(range(14)) and (pair.clean[:, :, 14:] == 0).all()


def test_what_resizing_does_not_mend_is_named(folder):
    for name in NAMES:
        save(folder / "degraded" / f"{name}.png", ramp(12, 30, 0))
    data = replace(SMALL, crop=64, picture=64, pad=True)
    with pytest.raises(ConfigError, match=r"clean/\w.png and its partners differ in size; make"):
        paired(folder, data, 0, mask=False)(0)
    with pytest.raises(ConfigError, match=r"clean/\w.png and its partners differ in size after data.resize short-side"):
        paired(folder, replace(data, resize=Resize.SHORT_SIDE), 0, mask=False)(0)
    with pytest.raises(ConfigError, match=r"clean/\w.png: 14 x 1\d pixels are too few for data.resize celeba"):
        paired(folder, replace(data, resize=Resize.CELEBA), 0, mask=False)(0)
    assert paired(folder, replace(data, resize=Resize.SQUASH), 0, mask=False)(0).clean.shape == (3, 64, 64)
