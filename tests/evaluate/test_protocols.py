"""Every protocol: what each figure is made of, written out once more, and what the published quirks do to it."""

from __future__ import annotations

import math

import pytest
import torch
from pictures import near, picture
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from residiff.data.images import Picture
from residiff.errors import ConfigError
from residiff.evaluate.protocol import Protocol, Saving, SetProtocol
from residiff.evaluate.protocols import PROTOCOLS, described, find, find_paired
from residiff.evaluate.scoring import Scorer, scan_of
from residiff.metrics import (
    imresize,
    lab_d50,
    lab_error,
    luma,
    masked_psnr,
    masked_ssim,
    opencv_resize,
    pillow_resize,
    psnr,
    ssim,
    volume_ssim,
)  # fmt: skip

SIZE = (3, 200, 270)
PAIRED = [name for name, row in PROTOCOLS.items() if isinstance(row, Protocol)]


def shadow(size=SIZE) -> Tensor:
    """A mask with soft edges."""
    mask = torch.zeros(1, *size[1:])
    mask[:, 50:120, 60:200] = 1
    mask[:, 45:50, 60:200] = 0.3
    return mask


def scored(name: str, predicted: Tensor, truth: Tensor, mask: Tensor | None = None) -> dict[str, float]:
    scans = [scan_of(Picture(each.float()), kind) for kind, each in (("p", predicted), ("t", truth))]
    matte = None if mask is None else scan_of(Picture(mask), "m")
    return dict(Scorer.of(find_paired(name)).score(*scans, matte).values)


def bytes_of(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Two 8-bit pictures that are smooth, so that resizing them leaves something."""
    source = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 20, 27, generator=source)
    truth = torch.nn.functional.interpolate(coarse, SIZE[1:], mode="bicubic").clamp(0, 1)[0]
    predicted = (truth + 0.05 * torch.randn(SIZE, generator=source)).clamp(0, 1)
    return (predicted * 255).round() / 255, (truth * 255).round() / 255


def test_istd_at_256(pair):
    eight = [bytes_of(each) for each in pair]
    region = imresize(bytes_of(shadow()), 256, 256) > 0
    floats = [imresize(each.double() / 255, 256, 256) for each in eight]
    labs = [lab_d50(imresize(each, 256, 256)) for each in eight]
    expected = {"psnr": psnr(*floats), "ssim": volume_ssim(*floats), "mae": lab_error(*labs).mae}
    for name, where in (("shadow", region), ("nonshadow", ~region)):
        zeroed = [each * where for each in floats]
        expected |= {f"psnr_{name}": psnr(*zeroed), f"ssim_{name}": volume_ssim(*zeroed)}
        expected[f"mae_{name}"] = lab_error(*labs, where).mae
    assert scored("istd-shadow-256", *pair, shadow()) == pytest.approx(expected, abs=1e-9)


def test_istd_of_regions(pair):
    region = shadow() > 0.5
    eight = [each.double() for each in pair]
    found = scored("istd-shadow-full-region", *pair, shadow())
    assert found["psnr_shadow"] == pytest.approx(masked_psnr(*eight, region), abs=1e-6)
    assert found["ssim_nonshadow"] == pytest.approx(masked_ssim(*eight, ~region), abs=1e-6)
    published = scored("istd-shadow-full", *pair, shadow())
    assert published["psnr_shadow"] > found["psnr_shadow"] + 5  # what lies outside is counted as equal
    assert published["psnr"] == pytest.approx(found["psnr"], abs=1e-6)


def test_luma(pair):
    lumas = [luma(bytes_of(each)).double() / 255 for each in pair]
    expected = {"psnr": psnr(*lumas), "ssim": ssim(*lumas)}
    assert scored("rain-y", *pair) == pytest.approx(expected, abs=1e-9)
    assert scored("rain-y-strict", *pair) == pytest.approx(expected, abs=1e-9)
    squares = [luma(imresize(bytes_of(each), 256, 256)).double() / 255 for each in pair]
    expected = {"psnr": psnr(*squares), "ssim": ssim(*squares)}
    assert scored("rain-y-256", *pair) == pytest.approx(expected, abs=1e-9)


def test_the_true_picture_is_resized_to_the_prediction(pair):
    predicted, truth = pair[0][:, :100, :135], pair[1]
    resized = imresize(bytes_of(truth), 100, 135)
    lumas = [luma(each).double() / 255 for each in (bytes_of(predicted), resized)]
    assert scored("rain-y", predicted, truth)["psnr"] == pytest.approx(psnr(*lumas), abs=1e-9)
    volumes = [each.double() / 255 for each in (bytes_of(predicted), resized)]
    assert scored("gopro-rgb", predicted, truth)["ssim"] == pytest.approx(volume_ssim(*volumes), abs=1e-9)
    with pytest.raises(ConfigError, match="make them alike"):
        scored("rain-y-strict", predicted, truth)


def test_low_light_is_scikit_image_s_own(pair):
    arrays = [bytes_of(each).permute(1, 2, 0).numpy() for each in pair]
    found = scored("lol-rgb-full", *pair)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(*arrays[::-1]), abs=1e-6)
    assert found["ssim"] == pytest.approx(structural_similarity(*arrays, channel_axis=2), abs=1e-6)
    squares = [opencv_resize(bytes_of(each), 256, 256).permute(1, 2, 0).numpy() for each in pair]
    found = scored("lol-rgb-256", *pair)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(*squares[::-1]), abs=1e-6)
    assert found["ssim"] == pytest.approx(structural_similarity(*squares, channel_axis=2), abs=1e-6)
    assert scored("lol-rgb-gaussian", *pair)["ssim"] != pytest.approx(found["ssim"], abs=1e-4)


def test_brightness_taken_from_the_truth_flatters():
    truth = picture(1, SIZE) * 0.8
    found = scored("lol-rgb-gt-mean", truth / 4, truth)
    assert found["psnr"] > scored("rgb-8bit-full", truth / 4, truth)["psnr"] + 20


def test_pillow_s_view_is_pillow_s(pair):
    from residiff.evaluate.views import pillow_256

    expected = pillow_resize(bytes_of(pair[0]), 256, 256).double() / 255
    assert torch.equal(pillow_256(bytes_of(pair[0]), (9, 9)), expected)


def test_equal_pictures_are_perfect(pair):
    perfect = {"psnr": math.inf, "ssim": 1.0, "mae": 0.0, "ms_ssim": 1.0, "delta_e": 0.0}
    for name in PAIRED:
        row = find_paired(name)
        if all(type(each.metric).__name__ == "Network" for each in row.measures):
            continue
        mask = shadow() if row.takes_mask else None
        for measure, value in scored(name, pair[1], pair[1], mask).items():
            key = measure if measure in perfect else measure.split("_")[0]
            assert value == pytest.approx(perfect[key], abs=1e-9), (name, measure)


@pytest.mark.parametrize("name", PAIRED)
def test_worse_pictures_score_worse(name):
    row = find_paired(name)
    if all(type(each.metric).__name__ == "Network" for each in row.measures):
        pytest.skip("scores by networks alone, which have no weights here")
    truth, mask = picture(5, SIZE), shadow() if row.takes_mask else None
    better, worse = (scored(name, near(5, level, SIZE), truth, mask) for level in (0.02, 0.2))
    if name == "lol-rgb-gt-mean":
        assert better["psnr"] > worse["psnr"]
        return
    for measure in better:
        assert (better[measure] > worse[measure]) is row.higher(measure), measure


def test_results_of_a_model_are_cut_or_rounded():
    half = Picture(torch.full((3, 8, 8), 100.6 / 255))
    assert scan_of(half, "x", Saving.ROUND).pixels.unique().tolist() == [101]
    assert scan_of(half, "x", Saving.TRUNCATE).pixels.unique().tolist() == [100]
    assert find_paired("lol-rgb-full").saving is Saving.TRUNCATE


@pytest.mark.parametrize("row", described(), ids=lambda row: row["name"])
def test_rows_are_whole(row):
    assert row["version"] >= 1 and row["summary"] and row["source"] and row["measures"]
    assert bool(row["sane"]) <= bool(row["quirks"])
    if row["sane"]:
        assert not find(row["sane"]).quirks, "the sane one has quirks of its own"
    found = find(row["name"])
    names = [each.name for each in found.measures] if isinstance(found, Protocol) else []
    assert len(names) == len(set(names))


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'rain-y'"):
        find("rain_y")
    with pytest.raises(ConfigError, match="residiff protocols list"):
        find("nothing at all")
    with pytest.raises(ConfigError, match="scores sets of pictures as wholes"):
        find_paired(next(name for name, row in PROTOCOLS.items() if isinstance(row, SetProtocol)))


def test_grey_pictures_have_no_luma():
    grey = picture(1, (1, 30, 30))
    with pytest.raises(ConfigError, match="grey picture has no luma"):
        scored("rain-y", grey, grey)


def test_masks_that_leave_nothing():
    image = picture(1, SIZE)
    with pytest.raises(ConfigError, match="sets no pixel"):
        scored("istd-shadow-full", image, image, torch.zeros(1, *SIZE[1:]))
    with pytest.raises(ConfigError, match="sets every pixel"):
        scored("istd-shadow-full", image, image, torch.ones(1, *SIZE[1:]))
    with pytest.raises(ConfigError, match="no mask is given"):
        scored("istd-shadow-full", image, image)
