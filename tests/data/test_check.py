"""The doctor of sets: every planted fault is named with its files, and nothing else is."""

import csv
import io
import json
import shutil
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.data.check.alignment import Alignment
from residiff.data.check.duplicates import NEAR, near_pairs
from residiff.data.check.findings import FAULTS, Fault, Severity
from residiff.data.check.judging import check_set, examine, judge
from residiff.data.check.listing import Listing, Split, Wanted, list_set
from residiff.data.check.looks import THUMB, Examined, Look
from residiff.data.check.sheet import batch_bytes, in_words
from residiff.data.check.verdicts import check_alignment
from residiff.data.degrade.table import DEGRADATIONS, degrade
from residiff.data.images import Picture
from residiff.data.settings import Pairing
from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError
from residiff.photographs import photographs
from residiff.seeds import generator


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path, **options)


def write_set(folder, pictures, kind, seed=0):
    """A paired folder of `pictures` in one degradation, called p000.png and so on."""
    for index, clean in enumerate(pictures):
        result = degrade(kind, clean, generator(seed, index))
        save(folder / "clean" / f"p{index:03d}.png", clean)
        save(folder / "degraded" / f"p{index:03d}.png", result.image)
        if result.mask is not None:
            save(folder / "mask" / f"p{index:03d}.png", result.mask)
    return folder


def told(report, root):
    """The files of the findings by fault, below `root`, in sets."""
    found = defaultdict(set)
    for one in report.findings:
        found[one.fault].add(frozenset(name.removeprefix(f"{root}/") for name in one.files))
    return dict(found)


def of(split, number, *kinds):
    return frozenset(f"{split}/{kind}/p{number:03d}.png" for kind in kinds or ("clean", "degraded", "mask"))


def quarters(count, seed=0):
    """Pictures of 32 x 32 pixels, four of each procedural one, which takes less time than to draw each."""
    wholes = [clean_image(index, 64, seed) for index in range(count // 4)]
    return [whole[:, y : y + 32, x : x + 32] for whole in wholes for y in (0, 32) for x in (0, 32)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """500 pairs of 32 x 32 pixels with masks, 460 to train and 40 to test on."""
    root = tmp_path_factory.mktemp("whole")
    write_set(root / "train", quarters(460), "missing-box")
    write_set(root / "test", quarters(40, seed=1), "missing-box", seed=1)
    return root


@pytest.fixture(scope="module")
def planted(whole, tmp_path_factory):
    """The same with a fault of each kind, and what is to be found."""
    root = tmp_path_factory.mktemp("planted") / "set"
    shutil.copytree(whole, root)
    expected = {}
    for plant in PLANTS:
        expected |= plant(root)
    return root, expected


def picture(root, kind, number, split="train"):
    return root / split / kind / f"p{number:03d}.png"


def edit(path, change):
    image = Image.open(path)
    image.load()
    change(image).save(path)


def missing(root):
    picture(root, "degraded", 10).unlink()
    return {Fault.MISSING: {of("train", 10, "clean", "mask")}}


def extra(root):
    for kind in ("degraded", "mask"):
        shutil.copy(picture(root, kind, 11), root / "train" / kind / "p900.png")
    edit(root / "train" / "degraded" / "p900.png", lambda image: image.rotate(180))
    return {Fault.EXTRA: {of("train", 900, "degraded", "mask")}}


def size_differs(root):
    edit(picture(root, "degraded", 20), lambda image: image.resize((31, 32)))
    return {Fault.SIZE: {of("train", 20)}}


def repeated(root):
    for kind in ("clean", "degraded", "mask"):
        shutil.copy(picture(root, kind, 30), root / "train" / kind / "p901.png")
    return {Fault.REPEATED: {of("train", 30, "clean") | of("train", 901, "clean")}}


def case_differs(root):
    picture(root, "degraded", 40).rename(root / "train" / "degraded" / "P040.png")
    return {Fault.CASE: {of("train", 40, "clean", "mask") | {"train/degraded/P040.png"}}}


def corrupt(root):
    path = picture(root, "clean", 50)
    path.write_bytes(path.read_bytes()[:-300])
    return {Fault.UNREADABLE: {of("train", 50, "clean")}}


def channels_differ(root):
    edit(picture(root, "degraded", 60), lambda image: image.convert("L"))
    return {Fault.CHANNELS: {of("train", 60)}}


def leak(root):
    for kind in ("clean", "degraded", "mask"):
        shutil.copy(picture(root, kind, 7, "test"), root / "train" / kind / "p902.png")
    return {Fault.LEAK: {of("train", 902, "clean") | of("test", 7, "clean")}}


def empty(root):
    picture(root, "degraded", 70).write_bytes(b"")
    return {Fault.EMPTY: {of("train", 70, "degraded")}}


def one_name(root):
    Image.open(picture(root, "clean", 80)).save(root / "train" / "clean" / "p080.jpg")
    return {Fault.SAME_NAME: {of("train", 80, "clean") | {"train/clean/p080.jpg"}}}


def mirrored(root):
    edit(picture(root, "degraded", 122), lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    return {Fault.TURNED: {of("train", 122, "clean", "degraded")}}


def shifted(root):
    edit(picture(root, "degraded", 209), lambda image: Image.fromarray(np.roll(image, (4, -3), (0, 1))))
    return {Fault.SHIFTED: {of("train", 209, "clean", "degraded")}}


def swapped(root):
    one, other, between = picture(root, "degraded", 193), picture(root, "degraded", 194), root / "between"
    one.rename(between), other.rename(one), between.rename(other)
    first = of("train", 193, "degraded") | of("train", 194, "clean")
    return {Fault.SWAPPED: {first, of("train", 194, "degraded") | of("train", 193, "clean")}}


def unchanged(root):
    shutil.copy(picture(root, "clean", 120), picture(root, "degraded", 120))
    return {Fault.UNCHANGED: {of("train", 120)}}


def soft_mask(root):
    edit(picture(root, "mask", 130), lambda image: image.resize((8, 8)).resize((32, 32), Image.Resampling.BICUBIC))
    return {Fault.MASK_SOFT: {of("train", 130, "mask")}}


def black_mask(root):
    edit(picture(root, "mask", 140), lambda image: image.point(lambda value: 0))
    return {Fault.MASK_EMPTY: {of("train", 140, "mask")}}


def white_mask(root):
    edit(picture(root, "mask", 141), lambda image: image.point(lambda value: 255))
    return {Fault.MASK_FULL: {of("train", 141, "mask")}}


def wrong_suffix(root):
    path = picture(root, "degraded", 150)
    Image.open(path).save(path, "WEBP", lossless=True)
    return {Fault.SUFFIX: {of("train", 150, "degraded")}}


def near_copy(root):
    for kind in ("degraded", "mask"):
        shutil.copy(picture(root, kind, 164), root / "train" / kind / "p903.png")
    edit(root / "train" / "degraded" / "p903.png", lambda image: image.point(lambda value: value // 2))
    Image.open(picture(root, "clean", 164)).save(root / "train" / "clean" / "p903.jpg", quality=85)
    return {Fault.NEAR_COPY: {of("train", 164, "clean") | {"train/clean/p903.jpg"}}}


def near_leak(root):
    for kind in ("clean", "degraded", "mask"):
        image = Image.open(picture(root, kind, 9, "test"))
        image.resize((64, 64), Image.Resampling.NEAREST if kind == "mask" else Image.Resampling.BICUBIC).save(
            root / "train" / kind / "p904.png"
        )
    return {Fault.NEAR_LEAK: {of("train", 904, "clean") | of("test", 9, "clean")}}


def stray(root):
    (root / "train" / "clean" / "notes.txt").write_text("hello")
    return {Fault.STRAY: {frozenset({"train/clean/notes.txt"})}}


def shared(root):
    shutil.copy(picture(root, "degraded", 170), picture(root, "degraded", 171))
    shared = of("train", 170, "degraded") | of("train", 171, "degraded")
    return {Fault.SHARED_DEGRADED: {shared}}


def twins(root):
    for kind in ("clean", "degraded", "mask"):
        shutil.copy(picture(root, kind, 180), root / "train" / kind / "P181.png")
        edit(root / "train" / kind / "P181.png", lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    return {Fault.CASE_TWINS: {frozenset({f"train/{kind}/p181.png", f"train/{kind}/P181.png"}) for kind in KINDS}}


def depth_differs(root):
    path = picture(root, "degraded", 190)
    for each in (path, picture(root, "clean", 190)):
        edit(each, lambda image: image.convert("L"))
    grey = np.asarray(Image.open(path)).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)
    return {Fault.DEPTH: {of("train", 190)}, Fault.DEEP: {of("train", 190, "degraded")}}


KINDS = ("clean", "degraded", "mask")
PLANTS = (
    missing, extra, size_differs, repeated, case_differs, corrupt, channels_differ, leak, empty, one_name, mirrored,
    shifted, swapped, unchanged, soft_mask, black_mask, white_mask, wrong_suffix, near_copy, near_leak, stray, shared,
    twins, depth_differs,
)  # fmt: skip


def test_a_sound_set_has_no_findings(whole):
    report = check_set(whole)
    assert report.findings == ()
    assert report.sheet.pairs == {"train": 460, "test": 40}


def test_every_planted_fault_is_named_with_its_files_and_nothing_else(planted):
    root, expected = planted
    report = check_set(root)
    found = told(report, root)
    assert {fault: found.get(fault) for fault in expected} == expected
    assert found.keys() == expected.keys()
    assert all(one.text and one.mend for one in report.findings)


def test_processes_find_the_same(planted):
    root, _ = planted
    listing = list_set(root)
    few = replace(listing, splits=tuple(_first(split, 5) for split in listing.splits))
    assert list(map(str, examine(few))) == list(map(str, examine(few, workers=1)))


def _first(split, count):
    columns = {
        kind: (keys[:count], [parts[place] for place in range(count)]) for kind, (keys, parts) in split.kinds.items()
    }
    return replace(split, kinds=columns)


def test_a_quick_look_finds_what_names_and_first_bytes_tell(planted):
    root, expected = planted
    seen = {
        Fault.MISSING,
        Fault.EXTRA,
        Fault.CASE,
        Fault.CASE_TWINS,
        Fault.EMPTY,
        Fault.SAME_NAME,
        Fault.SUFFIX,
        Fault.STRAY,
    }
    report = check_set(root, quick=True)
    assert told(report, root) == {fault: expected[fault] for fault in seen}
    assert report.sheet.pictures == 0


def test_the_report_as_a_table_and_as_json(planted, tmp_path):
    root, _ = planted
    report = check_set(root, quick=True)
    report.write(tmp_path / "report.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    told = json.loads(json.dumps(report.as_json()))
    assert len(rows) == len(report.findings) == sum(told["counts"].values())
    for row, entry, one in zip(rows, told["findings"], report.findings, strict=True):
        assert row == {**entry, "files": " | ".join(one.files)}
    assert [one.severity for one in report.findings] == sorted(
        (one.severity for one in report.findings), key=list(Severity).index
    )


def test_every_fault_has_a_severity_and_a_mend():
    assert set(FAULTS) == set(Fault) and all(row.mend for row in FAULTS.values())


# ---------------------------------------------------------------- sets in memory


class Drawn(NamedTuple):
    """A picture that is no file."""

    name: str
    pixels: torch.Tensor

    def read(self):
        return Picture(self.pixels)


def listed(pairs):
    """A set of (clean, degraded), "c0" and "d0" and so on."""
    keys = [f"{number:03d}" for number in range(len(pairs))]
    columns = {
        kind: (keys, [Drawn(f"{kind[0]}{n}", pair[side]) for n, pair in enumerate(pairs)])
        for side, kind in enumerate(("clean", "degraded"))
    }
    return Listing("drawn", (Split("train", columns),), {})


def faults(pairs, **options):
    listing = listed(pairs)
    return [(one.fault, one.files) for one in judge(listing, examine(listing), **options).findings]


def degraded(kind, pictures):
    return [(clean, degrade(kind, clean, generator(3, index)).image) for index, clean in enumerate(pictures)]


@pytest.fixture(scope="module")
def drawn():
    return [clean_image(index, 96, seed=5) for index in range(30)]


@pytest.fixture(scope="module")
def photos():
    """Parts of 128 x 128 pixels of real photographs."""
    return [
        image[:, y : y + 128, x : x + 128] for image in photographs().values() for y in (20, 160) for x in (40, 170)
    ]


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_no_degradation_is_taken_for_a_fault(drawn, kind):
    """That of nothing left has no structure, and is not compared. Rain cannot be seen before a white wall."""
    pairs = degraded(kind, drawn)
    same = [number for number, (clean, image) in enumerate(pairs) if torch.equal(clean, image)]
    assert faults(pairs) == [(Fault.UNCHANGED, (f"c{number}", f"d{number}")) for number in same] and len(same) < 2


@pytest.mark.parametrize(
    "kind", ["rain", "low-light", "noise", "motion-blur", "defocus-blur", "haze", "jpeg", "shadow"]
)
def test_photographs_are_fine_and_those_misaligned_are_found(photos, kind):
    pairs = degraded(kind, photos)
    assert faults(pairs) == []
    turns = {2: (1,), 7: (2,), 11: (1, 2)}
    for number, dims in turns.items():
        pairs[number] = (pairs[number][0], pairs[number][1].flip(dims))
    pairs[4], pairs[9] = (pairs[4][0], pairs[9][1]), (pairs[9][0], pairs[4][1])
    expected = {(Fault.TURNED, (f"d{number}", f"c{number}")) for number in turns}
    expected |= {(Fault.SWAPPED, ("d4", "c9")), (Fault.SWAPPED, ("d9", "c4"))}
    assert set(faults(pairs)) == expected


def cut(image, down, right):
    return image[:, 16 + down : 112 + down, 16 + right : 112 + right]


@pytest.mark.parametrize("kind", ["rain", "low-light", "noise", "jpeg"])
@pytest.mark.parametrize("shift", [(3, -2), (0, 6), (-9, 9)])
def test_shifted_photographs_are_found_and_the_shift_is_told(photos, kind, shift):
    pairs = degraded(kind, photos)
    moved = [
        (cut(clean, 0, 0), cut(image, *(shift if n % 10 == 1 else (0, 0)))) for n, (clean, image) in enumerate(pairs)
    ]
    listing = listed(moved)
    found = judge(listing, examine(listing)).findings
    assert [(one.fault, one.files) for one in found] == [(Fault.SHIFTED, (f"d{n}", f"c{n}")) for n in (1, 11)]
    down, right = -shift[0], -shift[1]
    told = [f"{abs(down)} pixels {'down' if down > 0 else 'up'}"] if down else []
    told += [f"{abs(right)} pixels to the {'right' if right > 0 else 'left'}"] if right else []
    assert {one.text for one in found} == {f"it lies about {' and '.join(told)}"}


def test_a_set_of_which_every_pair_is_shifted_alike_is_found(photos):
    pairs = [(cut(clean, 0, 0), cut(image, 4, 1)) for clean, image in degraded("noise", photos)]
    found = [fault for fault, _ in faults(pairs)]
    assert set(found) == {Fault.SHIFTED} and len(found) >= 0.9 * len(pairs)


def fitted(shifts, **changes):
    """Pairs that were examined, with those best shifts; they fit there surely, and in place not."""
    fit = Alignment(score=3.0, shift=(0, 0), shifted=20.0, twin=0.0, turn=0, turned=0.0, structure=9.0, small=None)
    looks = [{kind: look_at(f"{kind[0]}{n}") for kind in ("clean", "degraded")} for n in range(len(shifts))]
    return [
        Examined("train", str(n), looks[n], (), alignment=replace(fit, shift=shift, **changes))
        for n, shift in enumerate(shifts)
    ]


def look_at(name):
    return Look(name, (9, 9), 3, 8, False, False, name.encode(), None, ())


def test_a_shift_counts_if_it_is_far_for_the_set():
    shifts = [(0, 0)] * 9 + [(0, 2)]
    assert [one.files for one in check_alignment(fitted(shifts))] == [("d9", "c9")]
    # Where blur scatters them, two pixels are nothing
    scattered = [(1, 1), (-2, 0), (0, 1), (1, -1), (0, -2), (2, 0), (0, 0), (-1, 0), (0, 2), (7, 5)]
    assert [one.files for one in check_alignment(fitted(scattered))] == [("d9", "c9")]


def test_blur_which_fits_as_well_on_the_other_side_is_no_shift():
    shifts = [(0, 0)] * 9 + [(0, 8)]
    assert len(check_alignment(fitted(shifts, twin=7.0))) == 1
    assert check_alignment(fitted(shifts, twin=9.0)) == []


def test_a_picture_of_something_else_is_unlike_its_partner(photos):
    pairs = degraded("low-light", photos)
    other = degrade("low-light", clean_image(0, 128), generator(0)).image
    pairs[5] = (pairs[5][0], other)
    assert faults(pairs) == [(Fault.UNRELATED, ("d5", "c5"))]


def test_pictures_that_are_not_paired_by_name_are_not_compared(whole, tmp_path):
    for kind in ("clean", "degraded"):
        shutil.copytree(whole / "test" / kind, tmp_path / kind)
    for number in range(9):
        picture(tmp_path.parent, "degraded", number, tmp_path.name).unlink()
        edit(tmp_path / "degraded" / f"p{number + 10:03d}.png", lambda image: image.rotate(180))
    assert told(check_set(tmp_path), tmp_path)
    assert check_set(tmp_path, wanted=Wanted(Pairing.ORDER)).findings == ()


def test_what_most_of_a_set_has_is_one_note(photos):
    pairs = degraded("grey", photos)
    grey = [(clean, image[:1]) for clean, image in pairs]
    listing = listed(grey)
    (note,) = judge(listing, examine(listing)).findings
    assert (note.severity, note.fault, len(note.files)) == (Severity.NOTE, Fault.CHANNELS, 2 * len(photos))
    few = [(clean, image[:1] if number < 2 else image) for number, (clean, image) in enumerate(pairs)]
    listing = listed(few)
    assert [one.severity for one in judge(listing, examine(listing)).findings] == [Severity.WARNING] * 2


def test_pictures_smaller_than_the_crop(photos):
    pairs = degraded("noise", photos[:3])
    pairs[1] = tuple(image[:, :100] for image in pairs[1])
    assert faults(pairs, crop=(100, 128)) == []
    assert faults(pairs, crop=(101, 128)) == [(Fault.TOO_SMALL, ("c1", "d1"))]
    assert len(faults(pairs, crop=(16, 129))) == 3


def test_one_clean_picture_with_several_degraded_ones_is_a_note(photos):
    pairs = [degraded("noise", photos[:1])[0], degraded("rain", photos[:1])[0]]
    assert faults(pairs) == [(Fault.REPEATED_CLEAN, ("c0", "c1"))]


def test_several_degraded_pictures_may_go_with_one_clean_one(photos):
    (clean, noisy), (_, rainy) = degraded("noise", photos[:1])[0], degraded("rain", photos[:1])[0]
    columns = {
        "clean": (["1", "2"], [Drawn("c1", clean), Drawn("c2", photos[1])]),
        "degraded": (["1", "1"], [Drawn("d1", noisy), Drawn("d2", rainy)]),
    }
    listing = Listing("drawn", (Split("train", columns, many=True),), {"train": 3})
    report = judge(listing, examine(listing))
    assert [(one.fault, one.files) for one in report.findings] == [(Fault.MISSING, ("c2",)), (Fault.COUNT, ("train",))]
    assert (report.sheet.pairs, report.sheet.pictures) == ({"train": 2}, 4)


def test_near_copies_are_those_that_every_two_compared_show():
    source = np.random.default_rng(0)
    plain = source.integers(60, 200, (60, THUMB**2))
    brighter = np.where(np.arange(20) % 2, 4, -4)[:, None]
    copies = plain[:20] + brighter + source.integers(-2, 3, (20, THUMB**2))
    values = np.concatenate([plain, copies]).astype(np.uint8)
    distance = np.sqrt(np.square(values[:, None].astype(float) - values).mean(-1))
    expected = {(a, b) for a in range(80) for b in range(a) if distance[a, b] <= NEAR * values[a].std()}
    assert len(expected) >= 15
    assert {(max(pair), min(pair)) for pair in near_pairs([row.tobytes() for row in values])} == expected
    assert list(near_pairs([])) == [] and list(near_pairs([bytes(THUMB**2)] * 3)) == []


def test_the_sheet_is_exact():
    clean, dark = torch.full((3, 4, 6), 0.75), torch.full((3, 4, 6), 0.25)
    listing = listed([(clean, dark), (clean[:, :2], clean[:, :2]), (clean, clean)])
    sheet = judge(listing, examine(listing)).sheet
    assert (sheet.pairs, sheet.pictures, sheet.sizes) == ({"train": 3}, 6, {(4, 6): 2, (2, 6): 1})
    assert (sheet.decoded_bytes, sheet.epoch_bytes) == (3 * 6 * 20, 3 * 6 * 20 * 4)
    assert (sheet.residual_mean, sheet.residual_energy) == (pytest.approx(-0.5 / 3), pytest.approx(0.25 / 3))
    assert sheet.covered is None
    assert batch_bytes(8, (32, 64), mask=True) == 8 * 32 * 64 * 7 * 4
    assert [in_words(count) for count in (0, 1023, 1024, 3 * 2**30, 2**50)] == [
        "0 B",
        "1.02e+03 B",
        "1 KiB",
        "3 GiB",
        "1.02e+03 TiB",
    ]


# ---------------------------------------------------------------- layouts


def test_published_counts_and_names_of_a_layout(tmp_path, picture_file):
    for split, number in (("our485", 3), ("eval15", 1)):
        for index in range(number):
            for kind in ("low", "high"):
                picture_file(f"{split}/{kind}/{index}.png", (24, 24, 3), seed=index + 7 * (split == "our485"))
    report = check_set(tmp_path)
    assert report.title == "LOL v1" and report.sheet.pairs == {"train": 3, "test": 1}
    counts = [one for one in report.findings if one.fault is Fault.COUNT]
    assert [one.text for one in counts] == ["3 pairs; 485 are published", "1 pairs; 15 are published"]
    (tmp_path / "our485/low/1.png").unlink()
    assert told(check_set(tmp_path, "lol-v1"), tmp_path)[Fault.MISSING] == {frozenset({"our485/high/1.png"})}


def test_what_is_no_set_is_refused(tmp_path):
    for path, layout in ((tmp_path, "auto"), (tmp_path / "nowhere", "auto"), (tmp_path, "nothing")):
        with pytest.raises(ConfigError):
            check_set(path, layout)


def test_masks_can_be_left_out_or_called_for(whole, tmp_path):
    root = tmp_path / "set"
    for kind in ("clean", "degraded"):
        shutil.copytree(whole / "test" / kind, root / kind)
    shutil.copytree(whole / "test" / "mask", root / "mask")
    (root / "mask" / "p003.png").unlink()
    assert set(told(check_set(root), root)) == {Fault.MISSING}
    assert check_set(root, wanted=Wanted(masks=False)).findings == ()
    shutil.rmtree(root / "mask")
    assert len(told(check_set(root, wanted=Wanted(masks=True)), root)[Fault.MISSING]) == 40


def test_a_set_that_the_catalogue_opens_is_checked_by_place(whole, tmp_path):
    rows = [
        f"{whole}/train/clean/p{n:03d}.png,{whole}/train/degraded/p{n:03d}.png" for n in (0, 1, 209, 193, 194, 3, 7)
    ]
    rows[3], rows[4] = (rows[a].split(",")[0] + "," + rows[b].split(",")[1] for a, b in ((3, 4), (4, 3)))
    (tmp_path / "train.csv").write_text("\n".join(["clean,degraded", *rows]))
    found = told(check_set(tmp_path), whole / "train")
    assert len(found.pop(Fault.NOT_OPENED)) == 1
    assert found == {
        Fault.SWAPPED: {
            frozenset({"degraded/p193.png", "clean/p193.png"}),
            frozenset({"degraded/p194.png", "clean/p194.png"}),
        }
    }
