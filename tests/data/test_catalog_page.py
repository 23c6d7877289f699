"""docs/data.md is what the catalog says. `python tests/data/test_catalog_page.py` writes it anew.

The commands on layouts and lists are run here, too.
"""

import json
import re
from pathlib import Path

from trees import make_tree, save

from residiff import recipe
from residiff.data.catalog.published import LAYOUTS, published_layouts
from residiff.files import write_bytes

PAGE = Path(__file__).parent.parent.parent / "docs" / "data.md"

HEAD = """\
# Sets of pictures

`--data DIR` trains on a set in the layout that it was published in: unpack it and give its folder. Nothing is renamed,
copied or converted, pictures are read when they are due, and pairs are made by name, never by their places in two
lists: a picture without its partner, two of one name, or a name that is not the set's stop the program before training
and are told by name.

    residiff train rddm-istd -o runs/shadow --data ISTD_Dataset/
    residiff train rddm-lol -o runs/low-light --data LOLdataset/
    residiff train resfusion-cifar10-50 -o runs/cifar --data cifar-10-batches-bin/

The layout is found out from the names in the folder (`data.layout = "auto"`). Where a folder fits several, or is yours
but looks like another's, say which:

    residiff train rddm-istd -o runs/shadow --data ISTD/ --set data.layout=istd-plus

`residiff data layouts` prints this table, `--json` for a program to read. The page is written from the catalog
(`python tests/data/test_catalog_page.py`); a test compares the two.

## Layouts

Numbers are those published, of pairs or pictures. Suffixes are any that are read (PNG, JPEG, WebP, TIFF, GIF, AVIF,
BMP), in upper or lower case; folders are, too. Links are followed.
"""
FOOT = """\

## What is for testing

Training never touches the test part. Where a folder has no `test/`, what it calls `val/` or `valid/` is the test part:
they are other words for the pictures that results are told of. Where it has both, `val/` is not used, and pictures to
validate on are held out of those for training. A folder without either (`clean/` and `degraded/` directly) is for
training alone, and asked for its test part says so.

* RainDrop is tested on `test_a`, as both papers do; `data.domains = ["test_b"]` tests on the other part.
* CelebA goes by `list_eval_partition.txt`. Pictures of partition 1 are not used.
* FFHQ's authors appointed the numbers from 60000 on for validation, which is the test part here; StyleGAN trains on all
  70,000: give the folder of pictures itself with `data.layout = "pictures"` for that.
* CelebA-HQ was published without a split; that of StarGAN v2 is common, and is the one that is known here. Other sets
  of its pictures are of the layout `pictures`.
* SIDD's validation and test pictures are MATLAB files, which are not read.

## What is held out of training

The pairs that a run is validated by are taken out of the training part by scenes, so that no other picture of what they
show is trained on: GoPro's films, ISTD's and SIDD's scenes, which the files' names tell, and SID's long exposures, each
of many short ones. Rows of a manifest that share a clean or a degraded picture go together as well. One scene in twenty
(`validation.share`) is held out, and at least one; of more pairs than `validation.most` so many are shown, and the
others are in neither part. Of a few long films that is one: `--set validation.share=0.2` takes more. Other sets do not
say what shows the same scene, and are held out from pair by pair.

A copy, byte for byte, of a clean picture that is held out is not trained on either, under whatever name and in whatever
set of a mixture. Pictures that merely look alike are not found.

## One kind of picture, or two

Sets of several kinds (domains) are for generating one, or for translating from the first to the second. Pictures of two
kinds are no pairs, so that `data.pairing` must be `order` (the two lists side by side, the shorter over and over, as
RDDM does) or `unpaired` (drawn anew each epoch).

    residiff train resfusion-afhq -o runs/cats --data afhq_v2/ --set 'data.domains=["cat"]'
    residiff train rddm-dog-to-cat -o runs/cats --data afhq_v2/ --set 'data.domains=["dog", "cat"]'

For kinds of two sets, as in RDDM's men to cats, put (or link) them into one folder, `train/male/` and `train/cat/`: the
layout `domains`. GoPro's domain `blur_gamma` chooses the frames that were blurred in linear light.

## Sets that need a step before

* **SID RGB** is distributed as arrays of NumPy, which are not read. Make them pictures first; their colours are stored
  backwards:

      from pathlib import Path
      import numpy as np
      from PIL import Image
      for path in Path("SID").rglob("*.npy"):
          Image.fromarray(np.load(path)[..., ::-1]).save(path.with_suffix(".png"))

* **CIFAR-10**: get the binary version (`cifar-10-binary.tar.gz`). The version for Python is made of pickles, which can
  run code, and is refused.
* **LSUN** and FFHQ in databases need the package lmdb: `pip install "residiff[lmdb]"`.
* Archives (`.zip`, `.tar.gz`) are unpacked first. Plain `.tar` files of pictures are read as they are: the layout
  `shards`.

## Your own pictures

* Pairs: `clean/` and `degraded/`, maybe `mask/`, in the folder or in its `train/` and `test/`; partners have the same
  name, whatever their suffixes.
* Pictures alone, at any depth, to generate the like or to degrade on the fly.
* A **manifest** where names do not say what belongs together, or the pictures lie here and there: `train.csv` and
  `test.csv`, tables with a row for each pair. Paths are relative to the table's folder, or whole. A picture may come in
  several rows.

      clean,degraded,mask
      sharp/0001.png,/data/blurred/a.png,masks/7.png

## What a check finds

`residiff data check pairs/` names what is wrong with a set, `--layout` and `--domains dog,cat` saying how it lies and
what of it is meant. Single pairs whose partners were swapped, shifted, turned or mirrored are found by what they show.
Clean and degraded pictures that were swapped as a whole are not: nothing in the files says which side is meant. Look at
the mean of the residual, degraded minus clean, which is below zero where degrading darkens, and above where it adds
rain or haze. Files that are in the training and the test part are found whether their names or their pixels agree.

## Lists of paths (`.flist`)

RDDM trains on lists, a path a line, one for clean pictures ("gt"), one for degraded ones ("input"), and maybe one for
masks. Its code takes what is on the same line of each for a pair, so that one picture too many shifts all that follow.
`data import` makes a manifest of them, by name, and refuses what has no partner:

    residiff data import --clean ISTD_train_gt.flist --degraded ISTD_train_in.flist -o lists/
    residiff data import --clean rain_gt.flist --degraded rain_in.flist -o lists/ --by line
    residiff data import --clean gt.flist --degraded in.flist -o lists/ --root /home/them/data=/data
    residiff train rddm-istd -o runs/shadow --data lists/

`--by line` is for lists whose names differ and which are known to go together. `--root` is for lists from another
machine. `--split test` writes `test.csv`.
"""


def page():
    """docs/data.md."""
    lines = [
        ["layout", "what it is", "train", "test", "domains", "what its files are called", "published with"],
        ["---"] * 7,
    ]
    for row in published_layouts():
        counts = [f"{row[split]:,}" if isinstance(row[split], int) else row[split] for split in ("train", "test")]
        preprocessing = ", ".join(f"`{key} = {value}`" for key, value in row["preprocessing"].items())
        naming = row["naming"].replace("*", r"\*")
        lines.append([f"`{row['name']}`", row["summary"], *counts, row["domains"], naming, preprocessing])
    return HEAD + "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + FOOT


def test_the_page_is_what_the_catalog_says():
    written = PAGE.read_text("utf-8")
    assert written == page(), "python tests/data/test_catalog_page.py writes it anew"
    assert all(f"| `{name}` | {row.summary} |" in written for name, row in LAYOUTS.items())


def test_the_page_s_recipes_and_settings_are_there():
    commands = re.findall(r"^ +residiff train (\S+) -o \S+ --data \S+/(?: --set (.+))?$", HEAD + FOOT, re.M)
    assert len(commands) == 7
    for name, setting in commands:
        assert recipe.override(recipe.read(name), [setting.strip("'")] if setting else []).name == name


def test_layouts_are_listed(cli):
    rows = json.loads(cli("data", "layouts", "--json").out)
    assert [row["name"] for row in rows] == list(LAYOUTS)
    told = {row["name"]: row for row in rows}
    assert (
        told["istd"]["train"] == 1330 and told["sidd"]["test"] == "no" and told["afhq"]["domains"] == "cat, dog, wild"
    )
    assert told["raindrop"]["preprocessing"] == {"resize": "multiple-16"}
    shown = cli("data", "layouts").out.decode()
    assert all(name in shown for name in LAYOUTS)
    assert "train_C_fixed_official" in told["istd-plus"]["naming"]


def test_lists_are_imported(cli, tmp_path):
    for kind in ("clean", "degraded"):
        save(tmp_path / kind / "a.png", 1, kind)
        (tmp_path / f"{kind}.flist").write_text(f"/theirs/{kind}/a.png\n")
    arguments = ["--clean", tmp_path / "clean.flist", "--degraded", tmp_path / "degraded.flist", "-o", tmp_path / "set"]
    done = cli("data", "import", *arguments)
    assert done.code == 2 and "no file for /theirs/clean/a.png" in done.err and "--root" in done.err
    done = cli("data", "import", *arguments, "--root", f"/theirs={tmp_path}", "--split", "test", "--by", "line")
    assert done.code == 0 and "1 rows in" in done.err
    assert (
        tmp_path / "set/test.csv"
    ).read_text() == f"clean,degraded\n{tmp_path}/clean/a.png,{tmp_path}/degraded/a.png\n"


def test_training_takes_a_published_set(cli, tmp_path):
    folder = make_tree("raindrop", tmp_path / "set")
    settings = ["network.backbone.width=8", "network.backbone.middle=1", "training.iterations=1", "data.crop=16"]
    extra = [word for setting in settings for word in ("--set", setting)]
    done = cli("train", "tiny", "-o", tmp_path / "run", "--data", folder, *extra)
    assert done.code == 0, done.err


if __name__ == "__main__":
    write_bytes(PAGE, page().encode())
