"""The table of layouts: what each set is, how its files are called, and how many pictures it was published with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from residiff.data.catalog.celeba import CelebA
from residiff.data.catalog.cifar import Cifar10
from residiff.data.catalog.databases import FfhqDatabase, LsunDatabases
from residiff.data.catalog.layouts import AnyPictures, Finder, Shards, Split
from residiff.data.catalog.manifest import Manifest
from residiff.data.catalog.naming import (
    AFHQ,
    CELEBA_HQ,
    DOMAINS,
    FFHQ,
    GOPRO,
    GOPRO_MPRNET,
    ISTD,
    ISTD_PLUS,
    LOL,
    LOL_V2_REAL,
    LOL_V2_SYNTHETIC,
    LSUN,
    PAIRED,
    RAIN100H,
    RAIN100L,
    RAINDROP,
    SID,
    SIDD,
)
from residiff.data.catalog.tree import Tree
from residiff.plugins import Group, Plugin, Table


@dataclass(frozen=True)
class Layout:
    """What a set is, and how it is found.

    `naming` says what its files are called. `counts` are the published numbers of pairs or pictures, by split or
    "domain/split". `preprocessing` is what its publications do to whole pictures, as settings of a recipe's data.
    `splits` are those that it has. `scene` finds in a picture's path which scene it shows, as in `PictureSet`. Of the
    user's `own` sets, nothing is published; `is_last` are those that are only thought of where no other fits.
    """

    title: str
    summary: str
    naming: str
    finders: tuple[Finder, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    splits: tuple[Split, ...] = get_args(Split)
    scene: str = ""
    own: bool = False
    is_last: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """The published names to choose among with `data.domains`."""
        return tuple(dict.fromkeys(name for finder in self.finders for name in finder.domains))

    def fits(self, tree: Tree) -> bool:
        """Whether a folder looks so."""
        return any(finder.fits(tree) for finder in self.finders)


def published_layouts() -> list[dict[str, object]]:
    """The table, a row a layout, for people and programs: names, counts (or whether there is such a split), naming."""
    return [
        {
            "name": name,
            "title": row.title,
            "summary": row.summary,
            **{split: row.counts.get(split, "yes" if split in row.splits else "no") for split in get_args(Split)},
            "domains": ", ".join(row.domains),
            "naming": row.naming,
            "preprocessing": dict(row.preprocessing),
        }
        for name, row in LAYOUTS.items()
    ]


def _plugged(plugin: Plugin, value: object) -> Layout:
    if not isinstance(value, Layout):
        raise plugin.fault("it is no residiff.data.catalog.Layout")
    return value


_OWN: dict[str, Layout] = {
    "paired": Layout(
        title="a paired folder",
        summary="Your own pairs, with masks or without.",
        naming="clean/, degraded/ and maybe mask/, in the folder or in its train/ and test/; equal names",
        finders=(PAIRED,),
        own=True,
    ),
    "manifest": Layout(
        title="a manifest",
        summary="Your own pairs or pictures, listed in a table.",
        naming="train.csv and test.csv, with columns clean, maybe degraded and mask; a row belongs together",
        finders=(Manifest(),),
        own=True,
    ),
    "istd": Layout(
        title="ISTD",
        summary="Shadows, their masks and the same without (Wang et al., CVPR 2018).",
        naming="train/train_A (shadow), train_B (mask), train_C (free), and test/test_A, ...; equal names",
        finders=(ISTD,),
        counts={"train": 1330, "test": 540},
        scene=r"/(\d+)-\d+\.\w+$",
    ),
    "istd-plus": Layout(
        title="ISTD+",
        summary="ISTD with the free pictures' colours mended (Le and Samaras, ICCV 2019).",
        naming="as ISTD, the free pictures in train/train_C_fixed_official and test/test_C_fixed_official",
        finders=(ISTD_PLUS,),
        counts={"train": 1330, "test": 540},
        scene=r"/(\d+)-\d+\.\w+$",
    ),
    "lol-v1": Layout(
        title="LOL v1",
        summary="Photographs in low and in normal light (Wei et al., BMVC 2018).",
        naming="our485/ and eval15/, each with low/ and high/; equal names",
        finders=(LOL,),
        counts={"train": 485, "test": 15},
    ),
    "lol-v2-real": Layout(
        title="LOL v2 real",
        summary="More photographs in low and in normal light (Yang et al., TIP 2021).",
        naming="Real_captured/Train and Test, each with Low/low00001 and Normal/normal00001",
        finders=(LOL_V2_REAL,),
        counts={"train": 689, "test": 100},
    ),
    "lol-v2-synthetic": Layout(
        title="LOL v2 synthetic",
        summary="Photographs darkened by a program, and as they were (Yang et al., TIP 2021).",
        naming="Synthetic/Train and Test, each with Low/ and Normal/; equal names",
        finders=(LOL_V2_SYNTHETIC,),
        counts={"train": 900, "test": 100},
    ),
    "sid-rgb": Layout(
        title="SID RGB",
        summary="Short and long exposures of the Sony camera of SID, developed (Xu et al., CVPR 2020; SNR-Aware).",
        naming=(
            "short_sid2/ and long_sid2/ with a folder for each scene, 00001/; several short exposures to the one long "
            "of their scene. Scenes 1nnnn are for testing. Or train/ and test/, each with short/ and long/"
        ),
        finders=(SID,),
        counts={"train": 2099, "test": 598},
    ),
    "raindrop": Layout(
        title="RainDrop",
        summary="Scenes through a pane with drops and without (Qian et al., CVPR 2018).",
        naming="train/, test_a/ and test_b/, each with data/0_rain and gt/0_clean; the domain test_b tests on that",
        finders=(RAINDROP,),
        counts={"train": 861, "test": 58},
        preprocessing={"resize": "multiple-16"},
    ),
    "gopro": Layout(
        title="GoPro",
        summary="Blurred and sharp frames of films (Nah et al., CVPR 2017), as they were published.",
        naming=(
            "train/ and test/, each with folders GOPR0372_07_00/ that hold blur/ and sharp/; equal names. The domain "
            "blur_gamma takes blur_gamma/, blurred in linear light"
        ),
        finders=(GOPRO,),
        counts={"train": 2103, "test": 1111},
        scene=r"/(GOPR[^/]+)/[^/]+/[^/]+$",
    ),
    "gopro-mprnet": Layout(
        title="GoPro (MPRNet)",
        summary="GoPro's blur as MPRNet distributes it, which RDDM trains on.",
        naming="train/ and test/, or GoPro/ in them, each with input/ and target/; equal names that begin with GOPR",
        finders=(GOPRO_MPRNET,),
        counts={"train": 2103, "test": 1111},
        scene=r"/(GOPR[^/]+)-[^/]+$",
    ),
    "rain100l": Layout(
        title="Rain100L",
        summary="Light rain drawn on photographs, and these without (Yang et al., CVPR 2017).",
        naming=(
            "rain_data_train_Light/ and rain_data_test_Light/, or train/ and test/, each with norain/norain-1 and "
            "rain/norain-1x2 or rain/rain-1 (or the same in rain/X2/); or RainTrainL/ and Rain100L/, with norain-1 and "
            "rainy/rain-1, or, for testing, with input/ and target/"
        ),
        finders=(RAIN100L,),
        counts={"train": 200, "test": 100},
    ),
    "rain100h": Layout(
        title="Rain100H",
        summary="Heavy rain drawn on photographs, and these without (Yang et al., CVPR 2017).",
        naming="as Rain100L, with Heavy for Light and H for L",
        finders=(RAIN100H,),
        counts={"train": 1800, "test": 100},
    ),
    "sidd": Layout(
        title="SIDD",
        summary="Noisy photographs of telephones and the same without noise (Abdelhamed et al., CVPR 2018).",
        naming="Data/ with a folder for each scene that holds 0001_NOISY_SRGB_010 and 0001_GT_SRGB_010",
        finders=(SIDD,),
        counts={"train": 320},
        splits=("train",),
        scene=r"/\d+_(\d+)_[^/]+/[^/]+$",
    ),
    "celeba": Layout(
        title="CelebA",
        summary="Aligned faces (Liu et al., ICCV 2015).",
        naming="img_align_celeba/ and list_eval_partition.txt, whose 0 are for training and 2 for testing",
        finders=(CelebA(),),
        counts={"train": 162_770, "test": 19_962},
        preprocessing={"resize": "celeba"},
    ),
    "celeba-hq": Layout(
        title="CelebA-HQ",
        summary="Large faces of CelebA (Karras et al., ICLR 2018), split and sorted as by StarGAN v2.",
        naming="train/ and val/, each with female/ and male/. A folder of all of them is of the layout pictures",
        finders=(CELEBA_HQ,),
        counts={
            "train": 28_000,
            "test": 2_000,
            "female/train": 17_943,
            "female/test": 1_000,
            "male/train": 10_057,
            "male/test": 1_000,
        },
    ),
    "afhq": Layout(
        title="AFHQ",
        summary="Faces of animals (Choi et al., CVPR 2020); the counts are version 2's.",
        naming="train/ and test/ (version 1: val/), each with cat/, dog/ and wild/",
        finders=(AFHQ,),
        counts={
            "train": 14_336,
            "test": 1_467,
            "cat/train": 5_065,
            "cat/test": 493,
            "dog/train": 4_678,
            "dog/test": 491,
            "wild/train": 4_593,
            "wild/test": 483,
        },
    ),
    "lsun": Layout(
        title="LSUN",
        summary="Scenes and objects by category (Yu et al., 2015).",
        naming=(
            "a database bedroom_train_lmdb/ and bedroom_val_lmdb/ for each category; or exported to bedroom_train/ and "
            "bedroom_val/, at any depth"
        ),
        finders=(LsunDatabases(), LSUN),
        counts={
            "bedroom/train": 3_033_042,
            "bedroom/test": 300,
            "church_outdoor/train": 126_227,
            "church_outdoor/test": 300,
        },
    ),
    "ffhq": Layout(
        title="FFHQ",
        summary="Large faces (Karras et al., CVPR 2019).",
        naming=(
            "thumbnails128x128/ or images1024x1024/, at any depth, or a database ffhq*/ with keys 256-00000. Numbers "
            "below 60000 are for training, as its authors appointed; for all 70,000 take the layout pictures"
        ),
        finders=(FfhqDatabase(), FFHQ),
        counts={"train": 60_000, "test": 10_000},
    ),
    "cifar-10": Layout(
        title="CIFAR-10",
        summary="Small pictures of ten kinds of things (Krizhevsky, 2009), in the binary version.",
        naming="data_batch_1.bin to data_batch_5.bin and test_batch.bin, maybe in cifar-10-batches-bin/",
        finders=(Cifar10(),),
        counts={"train": 50_000, "test": 10_000},
    ),
    "domains": Layout(
        title="a folder of domains",
        summary="Your own kinds of pictures, to generate one or to translate between two.",
        naming="train/ and test/, each with a folder for each kind",
        finders=(DOMAINS,),
        own=True,
        is_last=True,
    ),
    "shards": Layout(
        title="a folder of shards",
        summary="Your own pairs or pictures in tar archives.",
        naming="*.tar with 000017.clean.png and maybe 000017.degraded.png and 000017.mask.png, in train/ and test/",
        finders=(Shards(),),
        own=True,
        is_last=True,
    ),
    "pictures": Layout(
        title="a folder of pictures",
        summary="Your own pictures, to generate the like or to degrade on the fly.",
        naming="any names, at any depth; those in test/ for testing alone, and if there is train/, that for training",
        finders=(AnyPictures(),),
        own=True,
        is_last=True,
    ),
}
LAYOUTS: Table[Layout] = Table(_OWN, Group.DATASETS, _plugged)
