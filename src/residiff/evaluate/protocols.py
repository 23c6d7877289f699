"""The published ways to score, exact, each by a name and a version, and beside each the same without its quirks.

A figure means something only beside its protocol: on one and the same set, PSNR of ISTD moves by several dB with the
order of resizing and conversion, the window of SSIM, and what counts as outside a region. A row that changes a figure
gets a new version.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from residiff.data.settings import Resize
from residiff.errors import ConfigError
from residiff.evaluate.measures import (
    INNER_PSNR,
    INNER_SSIM,
    PSNR,
    SSIM,
    VOLUME_SSIM,
    Measure,
    Metric,
    Network,
    View,
    Where,
    colour_difference,
    lab_mae,
    whole,
)
from residiff.evaluate.protocol import Distance, Protocol, Saving, SetProtocol
from residiff.evaluate.views import (
    Light,
    Matlab,
    opencv_256,
    pillow_256,
    regions_in_octave,
    unit,
    view_in_octave,
)
from residiff.metrics import UNIFORM, ms_ssim, psnr, ssim
from residiff.plugins import Group, Guarded, Plugin, Table

DEFAULT = "rgb-8bit-full"


def octave(protocol: Protocol) -> Protocol:
    """The protocol as GNU Octave computes it from masks that are doubles, which moves PSNR by hundredths of a dB.

    Octave's imresize rounds grey levels once, MATLAB's after each side.
    """
    measures = tuple(replace(each, view=view_in_octave(each.view)) for each in protocol.measures)
    return replace(protocol, measures=measures, regions=regions_in_octave(protocol.regions))


def _by_region(name: str, view: View, metric: Metric, *, higher: bool = True, pooled: bool = False) -> list[Measure]:
    return [
        Measure(f"{name}{suffix}", view, metric, where, higher, pooled)
        for suffix, where in (("_shadow", Where.SHADOW), ("_nonshadow", Where.NONSHADOW), ("", Where.ALL))
    ]


def _shadow(first: View, second: View, pixels: Metric, structure: Metric) -> tuple[Measure, ...]:
    """ISTD's three figures by region: PSNR and SSIM of `first`, Lab error of `second`."""
    return (
        *_by_region("psnr", first, pixels),
        *_by_region("ssim", first, structure),
        *_by_region("mae", second, lab_mae, higher=False, pooled=True),
    )


def _lpips(view: View) -> Measure:
    return Measure("lpips", view, Network("lpips-alex"), higher=False)


def _plain(view: View, structure: Metric = SSIM) -> tuple[Measure, ...]:
    return Measure("psnr", view, PSNR), Measure("ssim", view, structure)


_uniform_ssim = whole(lambda a, b: ssim(a, b, UNIFORM))


def _levelled(first: Tensor, second: Tensor) -> float:
    """PSNR after the prediction is multiplied so that its mean luma is the true picture's."""
    return psnr((first * (_grey(second) / max(_grey(first), 1e-9))).clamp(0, 1), second)


def _grey(image: Tensor) -> float:
    """Mean luma, BT.601, as OpenCV's grey."""
    if image.shape[0] != 3:
        return float(image.mean())
    red, green, blue = image.mean((1, 2)).tolist()
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


_ROWS: Sequence[Protocol] = (
    Protocol(
        DEFAULT,
        1,
        "PSNR and SSIM of full-size RGB, rounded to 8 bits; over a mask's pixels too",
        "residiff; SSIM of Wang et al. 2004, by channel",
        (*_plain(unit), Measure("psnr_masked", unit, INNER_PSNR, Where.SHADOW, if_masked=True)),
    ),
    Protocol(
        "validation-psnr",
        1,
        "Mean of the pictures' PSNR at full size, as told while training",
        "Resfusion (torchmetrics over channels, height and width)",
        (Measure("psnr", unit, PSNR),),
    ),
    Protocol(
        "istd-shadow-256",
        1,
        "Shadow removal at 256 x 256, by region: PSNR, SSIM, Lab error",
        "RDDM's evaluate_ISTD_results, Resfusion's for 256 (MATLAB)",
        _shadow(Matlab(square=True, as_doubles=True), Matlab(square=True), PSNR, VOLUME_SSIM),
        alike=False,
        quirks="outside a region counts as equal; SSIM runs over colours as over space; bicubic overshoot is kept",
        sane="istd-shadow-256-region",
    ),
    Protocol(
        "istd-shadow-256-region",
        1,
        "The same over the region's pixels alone, SSIM by channel",
        "residiff",
        _shadow(Matlab(square=True), Matlab(square=True), INNER_PSNR, INNER_SSIM),
        alike=False,
        regions=Light(above=127),
    ),
    Protocol(
        "istd-shadow-full",
        1,
        "Shadow removal at full size, by region: PSNR, SSIM, Lab error",
        "Resfusion's for the original size (MATLAB)",
        _shadow(unit, unit, PSNR, VOLUME_SSIM),
        quirks="outside a region counts as equal; SSIM runs over colours as over space",
        sane="istd-shadow-full-region",
    ),
    Protocol(
        "istd-shadow-full-region",
        1,
        "The same over the region's pixels alone, SSIM by channel",
        "residiff",
        _shadow(unit, unit, INNER_PSNR, INNER_SSIM),
        regions=Light(above=127),
    ),
    Protocol(
        "rain-y",
        1,
        "PSNR and SSIM of luma; the true picture resized to the prediction",
        "RDDM's and others' evaluate_PSNR_SSIM (MATLAB)",
        _plain(Matlab(y=True)),
        alike=False,
        quirks="sizes may differ; published pairs go by sorted order, here by name",
        sane="rain-y-strict",
    ),
    Protocol("rain-y-strict", 1, "The same of equal sizes alone", "residiff", _plain(Matlab(y=True))),
    Protocol(
        "rain-y-256",
        1,
        "PSNR and SSIM of luma, both resized to 256 x 256",
        "Resfusion's for 256 (MATLAB), RDDM's figures of RainDrop",
        _plain(Matlab(square=True, y=True)),
        alike=False,
        quirks="shapes are squashed; sizes may differ",
        sane="rain-y-strict",
    ),
    Protocol(
        "lol-y-256",
        1,
        "Low light: PSNR and SSIM of luma, and LPIPS, at 256 x 256",
        "RDDM's and Resfusion's figures of LOL (MATLAB, lpips_2dirs)",
        (*_plain(Matlab(square=True, y=True)), _lpips(pillow_256)),
        alike=False,
        quirks="shapes are squashed; sizes may differ",
        sane="rain-y-strict",
    ),
    Protocol(
        "gopro-rgb",
        1,
        "PSNR and SSIM of RGB; the true picture resized to the prediction",
        "evaluate_GOPRO_HIDE (MATLAB)",
        _plain(Matlab(), VOLUME_SSIM),
        alike=False,
        quirks="SSIM runs over colours as over space; sizes may differ",
        sane=DEFAULT,
    ),
    Protocol(
        "lol-rgb-full",
        1,
        "Low light: PSNR, SSIM (7 x 7 uniform window) and LPIPS of full-size RGB",
        "Measure.py of LLFlow, used by Resfusion (scikit-image)",
        (*_plain(unit, _uniform_ssim), _lpips(unit)),
        saving=Saving.TRUNCATE,
        quirks="a uniform window; Resfusion's pictures were cut to 8 bits, not rounded",
        sane="lol-rgb-gaussian",
    ),
    Protocol(
        "lol-rgb-gaussian",
        1,
        "The same with SSIM's Gaussian window, results rounded to 8 bits",
        "residiff",
        (*_plain(unit), _lpips(unit)),
    ),
    Protocol(
        "lol-rgb-gt-mean",
        1,
        "PSNR of low light after the prediction's brightness is set to the truth's: flattering, told apart",
        "KinD and many since",
        (Measure("psnr", unit, whole(_levelled)),),
        quirks="uses the truth to make the prediction better",
        sane="lol-rgb-gaussian",
    ),
    Protocol(
        "lol-rgb-256",
        1,
        "Low light at 256 x 256 (OpenCV's bilinear): PSNR, SSIM (7 x 7) and LPIPS",
        "Resfusion's Measure_256_lpips",
        (*_plain(opencv_256, _uniform_ssim), _lpips(opencv_256)),
        alike=False,
        saving=Saving.TRUNCATE,
        quirks="shapes are squashed without antialiasing; sizes may differ",
        sane="lol-rgb-gaussian",
    ),
    Protocol("lpips", 1, "LPIPS (alex, 0.1) at full size", "RDDM's lpips_2dirs", (_lpips(unit),)),
    Protocol(
        "lpips-256",
        1,
        "LPIPS (alex, 0.1) at 256 x 256 (Pillow's bicubic)",
        "RDDM's lpips_2dirs with resizing",
        (_lpips(pillow_256),),
        alike=False,
        quirks="shapes are squashed; sizes may differ",
        sane="lpips",
    ),
    Protocol(
        "perceptual",
        1,
        "LPIPS (alex and vgg), DISTS, MS-SSIM and CIEDE2000 of full-size RGB",
        "residiff; the metrics' own papers",
        (
            _lpips(unit),
            Measure("lpips_vgg", unit, Network("lpips-vgg"), higher=False),
            Measure("dists", unit, Network("dists"), higher=False),
            Measure("ms_ssim", unit, whole(ms_ssim)),
            Measure("delta_e", unit, colour_difference, higher=False),
        ),
    ),
    Protocol(
        "niqe",
        1,
        "NIQE of luma: how natural a picture looks, without a true one",
        "Mittal et al. 2013",
        (Measure("niqe", unit, Network("niqe"), higher=False),),
        truth=False,
        alike=False,
    ),
)
_SETS: Sequence[SetProtocol] = (
    SetProtocol(
        "fid-cifar10",
        1,
        "FID of 50,000 pictures against CIFAR-10's training pictures",
        "Resfusion (torchmetrics)",
        Network("inception-fidelity"),
        (Distance.FID,),
        split="train",
        side=32,
        quirks="TensorFlow's resizing; compared with what is trained on",
        sane="fid",
    ),
    SetProtocol(
        "fid-celeba-64",
        1,
        "FID of 50,000 pictures against CelebA's test pictures, faces cut out and made 64 x 64",
        "RDDM (pytorch-fid 0.3.0)",
        Network("inception-fid"),
        (Distance.FID,),
        resize=Resize.CELEBA,
        side=64,
    ),
    SetProtocol(
        "fid",
        1,
        "FID and KID of any pictures against any",
        "pytorch-fid; Binkowski et al. 2018",
        Network("inception-fid"),
        (Distance.FID, Distance.KID),
    ),
    SetProtocol(
        "inception-score",
        1,
        "Inception Score, 10 splits",
        "RDDM (inception-score-pytorch)",
        Network("inception-classes"),
        (Distance.IS,),
        quirks="pictures in [0, 1] are shown to a network that was trained on normalised ones",
    ),
    SetProtocol(
        "frechet-random",
        1,
        "Frechet's distance in the features of a fixed random network: needs no weights, is no FID",
        "residiff",
        Network("random-features"),
        (Distance.FID,),
    ),
)
_OWN: dict[str, Protocol | SetProtocol] = {row.name: row for row in _ROWS} | {row.name: row for row in _SETS}


def _plugged(plugin: Plugin, value: object) -> Protocol | SetProtocol:
    """A protocol of a plug-in, or of the one measure that it has."""
    if isinstance(value, Protocol | SetProtocol):
        if value.name != plugin.name:
            raise plugin.fault(f"its name is {value.name!r}, the entry's {plugin.name!r}")
        return value
    if not isinstance(value, Measure) or isinstance(value.metric, Network):
        raise plugin.fault("it is no residiff.evaluate.Measure or Protocol")
    guarded = replace(value, metric=Guarded(plugin, value.metric), view=Guarded(plugin, value.view))
    return Protocol(plugin.name, 1, f"{value.name} of full-size 8-bit RGB", ", ".join(plugin.packages), (guarded,))


PROTOCOLS: Table[Protocol | SetProtocol] = Table(_OWN, Group.METRICS, _plugged)


def find(name: str) -> Protocol | SetProtocol:
    """The protocol of that name.

    Raises
    ------
    ConfigError
        If there is none; the nearest is named.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, 1)
    hint = f"did you mean {near[0]!r}?" if near else "`residiff protocols list` names them"
    raise ConfigError(f"no protocol {name!r}; {hint}")


def find_paired(name: str) -> Protocol:
    """The same of a protocol that scores pictures one by one; `ConfigError` also if it scores sets as wholes."""
    found = find(name)
    if isinstance(found, SetProtocol):
        raise ConfigError(f"{name} scores sets of pictures as wholes; give two folders, or choose another protocol")
    return found


def described() -> list[dict[str, object]]:
    """All protocols, in words."""
    return [{**_words(row), "measures": ", ".join(_measures(row)), "mask": _mask(row)} for row in PROTOCOLS.values()]


def _words(row: Protocol | SetProtocol) -> dict[str, object]:
    return {key: getattr(row, key) for key in ("name", "version", "summary", "source", "quirks", "sane")}


def _measures(row: Protocol | SetProtocol) -> list[str]:
    return [each.value for each in row.distances] if isinstance(row, SetProtocol) else [m.name for m in row.measures]


def _mask(row: Protocol | SetProtocol) -> str:
    if isinstance(row, SetProtocol) or not row.takes_mask:
        return "no"
    return "needed" if row.needs_mask else "used"
