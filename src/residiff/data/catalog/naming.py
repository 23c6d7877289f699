"""What the published sets call their pictures: the patterns of each, and so which of them belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from residiff.data.catalog.layouts import SPLIT_FOLDERS, DomainFiles, Kind, PairedFiles, Rule, Split

Folders = Mapping[Split, Sequence[str]]
Rules = dict[Split, list[Rule]]


def _per_split(rule: Rule, folders: Folders) -> Rules:
    """The rule for each split, {split} being each of its `folders`."""
    return {
        split: [{kind: pattern.replace("{split}", name) for kind, pattern in rule.items()} for name in names]
        for split, names in folders.items()
    }


def _joined(*members: Mapping[Split, Sequence[Rule]]) -> Rules:
    """Each split's rules of all members, to be tried in that order."""
    splits = dict.fromkeys(split for member in members for split in member)
    return {split: [rule for member in members for rule in member.get(split, ())] for split in splits}


def _same_names(degraded: str, clean: str, name: str = "{name}") -> dict[str, str]:
    return {"clean": f"{clean}/{name}", "degraded": f"{degraded}/{name}"}


def _domains(*folders: str) -> dict[Split, list[str]]:
    """Folders of domains below those of the splits."""
    return {"train": ["train/{domain}/{name}"], "test": [f"{folder}/{{domain}}/{{name}}" for folder in folders]}


def _istd(clean: str) -> PairedFiles:
    rule = {"clean": clean, "degraded": "{split}/{split}_A/{name}", "mask": "{split}/{split}_B/{name}"}
    return PairedFiles(_per_split(rule, _TRAIN_TEST))


def _raindrop(test: str) -> Rules:
    rule = {"clean": "{split}/gt/{k:[0-9]+}_clean", "degraded": "{split}/data/{k:[0-9]+}_rain"}
    return _per_split(rule, {"train": ["train"], "test": [test]})


def _gopro(blur: str) -> Rules:
    scene = "{split}/{scene:GOPR.+}"
    return _per_split(_same_names(f"{scene}/{blur}", f"{scene}/sharp"), _TRAIN_TEST)


def _mprnet(folder: str) -> Rules:
    return _per_split(_same_names(f"{folder}/input", f"{folder}/target", "{name:GOPR.+}"), _TRAIN_TEST)


def _lol_v2(folder: str, low: str, normal: str) -> Rules:
    rule = {"clean": f"{folder}{{split}}/Normal/{normal}", "degraded": f"{folder}{{split}}/Low/{low}"}
    return _per_split(rule, {"train": ["Train"], "test": ["Test"]})


def _sid(train: tuple[str, str], test: tuple[str, str]) -> Rules:
    """Rules of folders of scenes, of each split the place and which scenes; {exposure} is short or long."""

    def rule(folder: str, scene: str) -> Rule:
        place = f"{folder}/{{scene:{scene}}}/{{*}}"
        return {"clean": place.replace("{exposure}", "long"), "degraded": place.replace("{exposure}", "short")}

    return {"train": [rule(*train)], "test": [rule(*test)]}


def _rain100(weight: str, letter: str) -> PairedFiles:
    """Rain100L or Rain100H as published or by split, as PReNet has them, and as MPRNet has the test pictures."""
    clean, rainy = "norain-{k:[0-9]+}", "{*:(?:no)?rain}-{k:[0-9]+}{*:(?:x2)?}"
    original: Folders = {"train": [f"rain_data_train_{weight}"], "test": [f"rain_data_test_{weight}"]}
    prenet: Folders = {"train": [f"RainTrain{letter}"], "test": [f"Rain100{letter}"]}
    rules = [
        _per_split({"clean": f"{{split}}/norain/{clean}", "degraded": f"{{split}}/rain/{inside}{rainy}"}, folders)
        for folders in (original, _TRAIN_TEST)
        for inside in ("", "X2/")
    ]
    rules.append(_per_split({"clean": f"{{split}}/{clean}", "degraded": f"{{split}}/rainy/{rainy}"}, prenet))
    rules.append(_per_split(_same_names("{split}/input", "{split}/target"), {"test": prenet["test"]}))
    return PairedFiles(_joined(*rules))


_TRAIN_TEST: Folders = {"train": ("train",), "test": ("test",)}
_BELOW = {kind: f"{{split}}/{kind}/{{name}}" for kind in get_args(Kind)}
_DIRECT: Rules = {"train": [{kind: f"{kind}/{{name}}" for kind in get_args(Kind)}]}
_RAISE = "{name:r[0-9a-f]+t}"
_LOW, _NORMAL = "low{number:[0-9]+}", "normal{number:[0-9]+}"
_SHOT = "Data/{scene}/{*:(?:[0-9]+_)?}"
_SCENES = (
    "bedroom",
    "bridge",
    "church_outdoor",
    "classroom",
    "conference_room",
    "dining_room",
    "kitchen",
    "living_room",
    "restaurant",
    "tower",
)
_SCENE = f"{{domain:{'|'.join(_SCENES)}}}"
_FACES = "{domain:images1024x1024|thumbnails128x128}/**"

PAIRED = PairedFiles(_joined(_DIRECT, _per_split(_BELOW, SPLIT_FOLDERS)), by_folder=True)
DOMAINS = DomainFiles(_domains(*SPLIT_FOLDERS["test"]), least=2, exclusive=True)
ISTD, ISTD_PLUS = _istd("{split}/{split}_C/{name}"), _istd("{split}/{split}_C_fixed_official/{name}")
LOL = PairedFiles(_per_split(_same_names("{split}/low", "{split}/high"), {"train": ["our485"], "test": ["eval15"]}))
LOL_V2_REAL = PairedFiles(_joined(_lol_v2("Real_captured/", _LOW, _NORMAL), _lol_v2("", _LOW, _NORMAL)))
LOL_V2_SYNTHETIC = PairedFiles(_joined(_lol_v2("Synthetic/", "{name}", "{name}"), _lol_v2("", _RAISE, _RAISE)))
SID = PairedFiles(
    _joined(
        # Scenes 2nnnn were for choosing settings by; SNR-Aware and later work train on them
        _sid(("{exposure}_sid2", "[02][0-9]+"), ("{exposure}_sid2", "1[0-9]+")),
        _sid(("train/{exposure}", "[0-9]+"), ("test/{exposure}", "[0-9]+")),
    ),
    many=True,
)
RAINDROP = PairedFiles(_raindrop("test_a"), {"test_b": {"test": _raindrop("test_b")["test"]}})
GOPRO = PairedFiles(_gopro("blur"), {"blur_gamma": _gopro("blur_gamma")})
GOPRO_MPRNET = PairedFiles(_joined(_mprnet("{split}"), _mprnet("{split}/GoPro")))
RAIN100L, RAIN100H = _rain100("Light", "L"), _rain100("Heavy", "H")
SIDD = PairedFiles(
    {
        "train": [
            {"clean": f"{_SHOT}GT_SRGB_{{number:[0-9]+}}", "degraded": f"{_SHOT}NOISY_SRGB_{{number:[0-9]+}}"},
        ]
    }
)
CELEBA_HQ = DomainFiles(_domains("val", "test"), names=("female", "male"))
AFHQ = DomainFiles(_domains("test", "val"), names=("cat", "dog", "wild"))
LSUN = DomainFiles({"train": [f"{_SCENE}_train/**/{{name}}"], "test": [f"{_SCENE}_val/**/{{name}}"]}, names=_SCENES)
FFHQ = DomainFiles(
    {
        "train": [f"{_FACES}/{{number:[0-5][0-9][0-9][0-9][0-9]}}"],
        "test": [f"{_FACES}/{{number:6[0-9][0-9][0-9][0-9]}}"],
    },
    names=("images1024x1024", "thumbnails128x128"),
    exclusive=True,
)
