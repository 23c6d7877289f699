"""Plug-ins: the example works wherever its names may stand, none costs anything unasked, a broken one is named."""

import json
import re
import sys
import warnings

import pytest
import torch
from installing import EXAMPLE, install, install_example

import residiff
from residiff import plugins, recipe
from residiff.checkpoint import load_model
from residiff.data.catalog import LAYOUTS, detect, open_set
from residiff.data.degrade import DEGRADATIONS, degrade
from residiff.errors import ConfigError, ModelFileError
from residiff.evaluate import PROTOCOLS, find_protocol
from residiff.interop.diffusers import ResidualDiffusionModel
from residiff.plugins import Group, PluginError, PluginWarning

WOVEN = str(EXAMPLE / "woven.toml")


@pytest.fixture
def example(site):
    install_example(site)
    return site


# ---------------------------------------------------------------- the example


def test_the_example_is_short():
    code = [line for line in (EXAMPLE / "residiff_weave.py").read_text("utf-8").splitlines() if line.strip()]
    assert len(code) <= 60  # five rows, their docstrings and imports


def test_its_recipe_is_read_written_and_changed(example):
    read = recipe.read(WOVEN)
    assert (read.schedule.kind, read.network.backbone.kind, len(read.schedule)) == ("sine", "plain", 100)
    assert recipe.parse(read.toml()) == read and recipe.check(WOVEN) == ()
    changed = recipe.override(read, ["schedule.length=20", "network.backbone.width=4"])
    assert len(changed.schedule) == 20 and changed.network.backbone.width == 4
    assert recipe.override(read, ["schedule.kind=rddm"]).schedule.kind == "rddm"
    assert recipe.override(recipe.read("tiny"), ["sampling.readjusted.kind=sine", "schedule.length=100"])
    parts = {name: getattr(read, name) for name in recipe.Recipe.model_fields}
    assert recipe.Recipe(**parts) == recipe.Recipe(**read.model_dump()) == read


def test_its_settings_are_checked_as_residiffs_are(example):
    read = recipe.read(WOVEN)
    for setting, message in (
        ("schedule.lenght=3", "schedule.lenght: there is no such setting; did you mean schedule.length"),
        ("schedule.length=many", "schedule.length: .*integer"),
        ("network.backbone.width=wide", "network.backbone.width: "),
        ("schedule.kind=sin", "take .*'rddm'.*'sine'.*did you mean 'sine'"),
        ("network.backbone.kind=plian", "did you mean 'plain'"),
        ("data.degrade.name=waeve", "waeve"),
    ):
        with pytest.raises(ConfigError, match=message):
            changed = recipe.override(read, [setting])
            degrade(changed.data.degrade.name, torch.zeros(3, 8, 8), torch.Generator())


def test_editors_are_told_of_it(example):
    tables = recipe.json_schema()["$defs"]
    assert tables["plug-in sine"]["properties"]["length"]["type"] == "integer"
    assert {"$ref": "#/$defs/plug-in plain"} in tables["Network"]["properties"]["backbone"]["anyOf"]


def test_it_trains_and_restores_from_the_command_line(example, cli, tmp_path, picture_file):
    run = tmp_path / "run"
    done = cli("train", WOVEN, "-o", run, "--set", "training.iterations=10")
    assert done.code == 0, done.err
    held = load_model(run)
    assert (held.recipe.schedule.kind, held.card["data"]) == ("sine", "procedural, weave")
    source = picture_file("a.png", (20, 24, 3))
    done = cli("restore", source, "-o", tmp_path / "b.png", "-m", run, "--steps", "3")
    assert done.code == 0 and (tmp_path / "b.png").is_file()
    image = torch.rand(3, 20, 24)
    assert residiff.load(run, "cpu")(image).shape == image.shape
    network = ResidualDiffusionModel(backbone={"kind": "plain", "width": 4})
    assert network(torch.zeros(1, 6, 5, 5), 3).sample.shape == (1, 3, 5, 5)
    assert cli("models", "info", run).code == 0 and cli("recipes", "show", WOVEN).code == 0


def test_a_model_of_it_says_what_is_missing_where_it_is_not(example, cli, tmp_path):
    assert cli("train", WOVEN, "-o", tmp_path / "run", "--set", "training.iterations=2").code == 0
    (example / "residiff_weave-0.1.dist-info/entry_points.txt").unlink()
    plugins.found.cache_clear()
    with pytest.raises(ModelFileError, match="'sine' is not allowed.*if a plug-in has it, install that"):
        load_model(tmp_path / "run")


def test_its_degradation_is_one_among_others(example, cli, tmp_path):
    row = next(row for row in json.loads(cli("data", "list", "--json").out) if row["name"] == "weave")
    assert row["parameters"] == "light=0.2,0.8"
    done = cli("data", "make", "-o", tmp_path / "set", "-k", "weave", "-n", "2", "--size", "16")
    assert done.code == 0 and len(list((tmp_path / "set/degraded").iterdir())) == 2
    white = torch.ones(3, 4, 4)
    dark = degrade("weave", white, torch.Generator().manual_seed(0), {"light": 0.5}).image
    assert torch.equal(dark[:, 1::2], white[:, 1::2]) and (dark[:, ::2] - 0.5).abs().max() < 0.01
    done = cli("data", "make", "-o", tmp_path / "x", "-k", "weav")
    assert done.code == 2 and "did you mean 'weave'" in done.err
    done = cli("data", "make", "-o", tmp_path / "x", "-k", "weave", "--set", "light=2")
    assert done.code == 2 and "light = (2, 2) is not usable" in done.err


def test_its_layout_is_found_by_itself(example, cli, picture_file, tmp_path):
    for name in ("good/a", "good/b", "bad/a", "bad/b"):
        picture_file(f"set/{name}.png", (40, 40, 3))
    assert detect(tmp_path / "set") == "good-bad"
    assert len(open_set(tmp_path / "set").columns["clean"]) == 2
    assert "good-bad" in [row["name"] for row in json.loads(cli("data", "layouts", "--json").out)]


def test_its_measure_scores(example, cli, picture_file, tmp_path):
    for seed, name in enumerate(("x/a.png", "x/b.png", "y/a.png", "y/b.png")):
        picture_file(name, (16, 16, 3), seed=seed)
    first, second = tmp_path / "x/a.png", tmp_path / "y/a.png"
    for more in ((), ("--processes", "2")):
        done = cli("evaluate", first.parent, second.parent, "-p", "error", "--json", *more)
        assert done.code == 0, done.err
        assert 0.2 < json.loads(done.out)["mean"]["error"] < 0.5
    assert find_protocol("error").higher("error") is False
    assert any(row["name"] == "error" for row in json.loads(cli("protocols", "list", "--json").out))
    done = cli("evaluate", first, second, "-p", "erorr")
    assert done.code == 2 and "did you mean 'error'" in done.err


def test_the_program_knows_it_in_a_process_of_its_own(example, program, tmp_path):
    run = program("data", "make", "-o", tmp_path / "set", "-k", "weave", "-n", "1", "--size", "16")
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    run = program("env")
    out, _ = run.communicate(timeout=60)
    assert b"weave (residiff.degradations) of residiff-weave 0.1" in out and b"broken" not in out


# ---------------------------------------------------------------- none costs anything unasked

BOOM = "raise RuntimeError('imported')"
EVERYWHERE = {group.value: {"boom": "boom:Row"} for group in Group}


def test_nothing_imports_a_plugin_unasked(site, cli, picture_file, tiny_file, tmp_path):
    install(site, "boom", {"boom.py": "import sys\nsys.modules['was_imported'] = sys\n" + BOOM}, EVERYWHERE)
    source = picture_file("a.png", (16, 16, 3))
    for words in (
        ("--help",),
        ("restore", source, "-o", tmp_path / "b.png", "-m", tiny_file),
        ("recipes", "check", "tiny"),
        ("evaluate", source, source),
        ("data", "make", "-o", tmp_path / "set", "-k", "noise", "-n", "1", "--size", "16"),
        ("data", "make", "-o", tmp_path / "set2", "-k", "noise", "-n", "1", "--size", "16"),
    ):
        done = cli(*words)
        assert done.code == 0 and "boom" not in done.err, done.err
    assert "was_imported" not in sys.modules


def test_no_metadata_is_read_for_residiffs_own_names(monkeypatch):
    monkeypatch.setattr(plugins.tables.metadata, "entry_points", lambda **_: pytest.fail("read"))
    plugins.found.cache_clear()
    recipe.override(recipe.read("tiny"), ["schedule.kind=resfusion", "schedule.length=12"])
    assert DEGRADATIONS["noise"] and LAYOUTS["paired"] and PROTOCOLS["rgb-8bit-full"] and "noise" in DEGRADATIONS


# ---------------------------------------------------------------- broken ones

HEAD = "from dataclasses import dataclass\nfrom typing import Literal\n"
SINE = HEAD + "from residiff.schedule import Schedule\n"
NET = HEAD + "from torch import nn\n"
FIELDS = '@dataclass(frozen=True)\nclass Row{base}:\n    kind: Literal["x"] = "x"\n'
BROKEN = {
    "missing module": (Group.DEGRADATIONS, "import no_such_module", "ModuleNotFoundError: No module named"),
    "error": (Group.DEGRADATIONS, BOOM, "RuntimeError: imported"),
    "syntax": (Group.DEGRADATIONS, "def", "SyntaxError"),
    "no such object": (Group.METRICS, "", "AttributeError"),
    "no degradation": (Group.DEGRADATIONS, "Row = 3", "no residiff.data.degrade.Degradation"),
    "no layout": (Group.DATASETS, "Row = 3", "no residiff.data.catalog.Layout"),
    "no measure": (Group.METRICS, "Row = print", "no residiff.evaluate.Measure"),
    "no class": (Group.SCHEDULES, "Row = 3", "no dataclass"),
    "not frozen": (Group.SCHEDULES, HEAD + "@dataclass\nclass Row:\n    kind: str = 'x'\n", "not frozen"),
    "another kind": (
        Group.SCHEDULES,
        HEAD + '@dataclass(frozen=True)\nclass Row:\n    kind: Literal["y"] = "y"\n',
        "its kind is 'y', the entry's name 'x'",
    ),
    "no schedule": (Group.SCHEDULES, HEAD + FIELDS.format(base=""), "no subclass of residiff.schedule.Schedule"),
    "coefficients fail": (
        Group.SCHEDULES,
        SINE + FIELDS.format(base="(Schedule)") + "    def coefficients(self):\n        return 1 / 0\n",
        "ZeroDivisionError: division by zero",
    ),
    "no build": (Group.BACKBONES, HEAD + FIELDS.format(base=""), "no method build"),
    "no network": (
        Group.BACKBONES,
        HEAD + FIELDS.format(base="") + "    def build(self, a, b, c):\n        return 3\n",
        "build gives a int",
    ),
    "build fails": (
        Group.BACKBONES,
        HEAD + FIELDS.format(base="") + "    def build(self):\n        return 3\n",
        "TypeError: .*build",
    ),
    "network says too little": (
        Group.BACKBONES,
        NET + FIELDS.format(base="") + "    def build(self, a, b, c):\n        return nn.Conv2d(a, b, 1)\n",
        "its network has no whole number size_multiple",
    ),
    "fails at work": (
        Group.DEGRADATIONS,
        "from residiff.data.degrade import Degradation\n"
        "def bad(clean, generator):\n    raise KeyError('gone')\nRow = Degradation(bad, 'bad', ())\n",
        "KeyError: 'gone'",
    ),
}
ASKS = {
    Group.DEGRADATIONS: ("data", "make", "-k", "x", "-n", "1", "--size", "16", "-o"),
    Group.DATASETS: ("train", "tiny", "--data", "folder", "--set", "data.layout=x", "-o"),
    Group.METRICS: ("evaluate", "a.png", "a.png", "-p", "x", "-o"),
    Group.SCHEDULES: ("train", "tiny", "--set", "schedule.kind=x", "-o"),
    Group.BACKBONES: ("train", "tiny", "--set", "network.backbone.kind=x", "-o"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_named_when_it_is_asked_for(site, cli, picture_file, tmp_path, monkeypatch, name):
    group, module, why = BROKEN[name]
    install(site, "bad-plug", {"bad_plug.py": module + "\n"}, {group.value: {"x": "bad_plug:Row"}}, "2.0")
    picture_file("a.png")
    picture_file("folder/clean/a.png")
    monkeypatch.chdir(tmp_path)
    done = cli(*ASKS[group], "out")
    assert done.code == 2, done.err
    assert "plug-in 'x' of bad-plug 2.0" in done.err and group.value in done.err
    assert re.search(why, done.err), done.err
    assert "update or remove it" in done.err and done.err.count("error:") == 1
    assert "Traceback" not in done.err and "bug in residiff" not in done.err


@pytest.mark.parametrize("group", Group)
def test_lists_leave_a_broken_one_out_and_say_so(site, group):
    install(site, "boom", {"boom.py": BOOM}, {group.value: {"x": "boom:Row"}})
    from residiff.recipe.plugged import CLASSES

    tables = {
        Group.DEGRADATIONS: DEGRADATIONS,
        Group.DATASETS: LAYOUTS,
        Group.METRICS: PROTOCOLS,
        **CLASSES,
    }
    with pytest.warns(PluginWarning, match="plug-in 'x' of boom 0.1"):
        assert "x" not in list(tables[group])
    with pytest.raises(PluginError, match="RuntimeError: imported"):
        tables[group]["x"]


def test_the_command_line_warns_in_one_line_and_goes_on(site, cli):
    install(site, "boom", {"boom.py": BOOM}, {"residiff.degradations": {"x": "boom:Row"}})
    done = cli("data", "list")
    assert done.code == 0 and b"low-light" in done.out
    assert done.err.count("warning: plug-in 'x' of boom 0.1") == 1 and "Traceback" not in done.err
    done = cli("env")
    assert done.code == 0 and b"x (residiff.degradations) of boom 0.1, broken" in done.out


def test_two_packages_of_one_name_are_both_named(site):
    for number in (1, 2):
        install(site, f"rival-{number}", {f"rival{number}.py": "Row = 1"}, {Group.DATASETS.value: {"x": "rival1:Row"}})
    with pytest.raises(PluginError, match=r"of rival-1 0.1 and rival-2 0.1 .*two packages have this name"):
        LAYOUTS["x"]


def test_residiffs_own_names_cannot_be_taken(site):
    install(site, "thief", {"thief.py": "Row = 1"}, {"residiff.degradations": {"noise": "thief:Row"}})
    assert DEGRADATIONS["noise"].summary == "white Gaussian noise"
    with pytest.warns(PluginWarning, match="residiff itself has this name"):
        assert list(DEGRADATIONS).count("noise") == 1


def test_a_table_is_a_mapping_of_what_can_be_used(example):
    assert len(DEGRADATIONS) == len(list(DEGRADATIONS)) == len(DEGRADATIONS.own) + 1
    assert DEGRADATIONS.get("nothing") is None and "weave" in DEGRADATIONS
    with pytest.raises(KeyError):
        DEGRADATIONS["nothing"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dict(LAYOUTS.items())["good-bad"].title == "good and bad"
