"""A tree in the layout of every row of the catalog trains, validates and resumes through the public command."""

import csv

import pytest
from trees import make_tree

from residiff.checkpoint import load_model
from residiff.data.catalog.opening import LAYOUTS

NETWORK = [
    "network.backbone.width=4", "network.backbone.middle=1", "training.batch=2", "training.warm_up=1", "data.crop=16",
    "data.picture=24", "validation.share=0.3", "validation.shown=1", "validation.every=2",
]  # fmt: skip
# What a layout needs beyond its folder
MORE = {
    "istd": ["network.mask=true"],
    "istd-plus": ["network.mask=true"],
    "celeba": ["data.resize=short-side"],
    "celeba-hq": ["task=generate", "data.degrade={name='blank'}"],
    "lsun": ["task=generate", "data.degrade={name='blank'}"],
    "cifar-10": ["task=generate", "data.degrade={name='blank'}"],
    "pictures": ["data.layout=pictures"],
    "domains": ["task=translate", 'data.domains=["day", "night"]', "data.pairing=unpaired"],
    "afhq": ["task=translate", 'data.domains=["dog", "cat"]', "data.pairing=unpaired"],
}


def options(settings):
    return [word for setting in settings for word in ("--set", setting)]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tree_of_each_layout_is_trained_on(cli, tmp_path, layout):
    make_tree(layout, tmp_path / "set")
    run, chosen = tmp_path / "run", options([*NETWORK, *MORE.get(layout, [])])
    given = ["train", "tiny", "-o", run, "--data", tmp_path / "set", "--no-tensorboard", *chosen]
    begun = cli(*given, "--set", "training.iterations=2")
    assert begun.code == 0, begun.err
    assert [row["step"] for row in rows(run / "metrics.csv")] == ["1", "2"]
    (score,) = rows(run / "validation.csv")
    assert float(score["loss"]) > 0
    assert bool(score["psnr"]) == (layout not in ("celeba-hq", "lsun", "cifar-10", "afhq", "domains"))
    assert (run / "report.html").read_text("utf-8").startswith("<!")

    continued = cli(*given, "--set", "training.iterations=4", "--resume", "--override")
    assert continued.code == 0, continued.err
    assert [row["step"] for row in rows(run / "metrics.csv")] == ["1", "2", "3", "4"]
    assert [row["step"] for row in rows(run / "validation.csv")] == ["2", "4"]
    card = load_model(run).card
    assert LAYOUTS[layout].own or LAYOUTS[layout].title.split(",")[0] in card["data"]
    assert card["validation"]["on"] == "carved"
    assert card["validation"]["pairs"] >= 1


def test_a_test_split_is_for_choosing_only_if_one_says_so_and_the_model_tells(cli, tmp_path):
    make_tree("lol-v1", tmp_path / "set")
    given = [
        "train",
        "tiny",
        "--data",
        tmp_path / "set",
        "--no-tensorboard",
        *options(NETWORK),
        "--set",
        "training.iterations=2",
    ]
    assert cli(*given, "-o", tmp_path / "honest").code == 0
    assert cli(*given, "-o", tmp_path / "chosen", "--choose-on-test").code == 0
    honest, chosen = load_model(tmp_path / "honest"), load_model(tmp_path / "chosen")
    assert (honest.card["validation"]["on"], chosen.card["validation"]["on"]) == ("carved", "test")
    assert "train" in honest.card["validation"]["of"] and "test" in chosen.card["validation"]["of"]
    assert chosen.card["validation"]["pairs"] == 3
    assert chosen.recipe.validation.on == "test"
    assert "held out" in honest.card["data"] and "held out" not in chosen.card["data"]
