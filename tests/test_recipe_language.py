"""Recipes as a language: what they include, the place and the words of every fault, and what differs between two."""

import pickle
import re
from pathlib import Path

import pytest

from residiff.data.settings import Source
from residiff.errors import ConfigError
from residiff.recipe import MAX_FILES, MAX_TEXT, RecipeError, check, difference, names, override, parse, read

WHOLE = """\
name = "base"
summary = "Of the base alone."
task = "denoise"
origin = { paper = "A paper", row = "Table 1" }

[schedule]
kind = "rddm"
length = 50
total_noise = 0.5

[data]
crop = 16
picture = 32
degrade = { name = "noise", parameters = { sigma = [1, 2] } }

[[data.mixture]]
path = "a"

[network.backbone]
kind = "nafnet"
width = 8
encoder = [1, 1]
decoder = [1, 1]
middle = 1

[training]
batch = 3
seed = 7
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(name, text)` writes a file into the working folder; the base is there."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return name

    write("base.toml", WHOLE)
    return write


def told(name):
    """The lines of a recipe's faults."""
    with pytest.raises(ConfigError) as caught:
        read(name)
    return str(caught.value).splitlines()


# What a recipe includes


def test_a_recipe_begins_from_the_one_that_it_includes(write):
    mine = read(write("mine.toml", 'include = "base.toml"\nname = "mine"\n[training]\nbatch = 5\n'))
    base = read("base.toml")
    assert (mine.training.batch, mine.training.seed, mine.schedule.length) == (5, 7, 50)
    assert difference(base.model_copy(update={"origin": None, "summary": ""}), mine) == [
        'name: "base" -> "mine"',
        "training.batch: 3 -> 5",
    ]


def test_what_a_recipe_says_of_itself_is_not_inherited(write):
    mine = read(write("mine.toml", 'include = "base.toml"\nname = "mine"\n'))
    assert (mine.name, mine.summary, mine.origin, mine.task) == ("mine", "", None, "denoise")
    write("nameless.toml", 'include = "base.toml"\n')
    assert told("nameless.toml") == ["nameless.toml: name: Field required"]


def test_later_ones_win_and_the_file_itself_wins_last(write):
    for name, batch, seed in (("one", 11, 21), ("two", 12, 22)):
        write(f"{name}.toml", f"[training]\nbatch = {batch}\nseed = {seed}\naccumulate = 2\n")
    text = 'include = ["base.toml", "one.toml", "two.toml"]\nname = "mine"\ntraining.seed = 3\n'
    mine = read(write("mine.toml", text)).training
    assert (mine.batch, mine.seed, mine.accumulate) == (12, 3, 2)
    other = text.replace('"one.toml", "two.toml"', '"two.toml", "one.toml"')
    assert read(write("other.toml", other)).training.batch == 11


def test_arrays_are_replaced(write):
    text = '[[data.mixture]]\npath = "b"\n[network.backbone]\nencoder = [2]\ndecoder = [2]\n'
    mine = read(write("mine.toml", f'include = "base.toml"\nname = "mine"\n{text}'))
    assert mine.data.mixture == (Source("b"),) and mine.network.backbone.encoder == (2,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[schedule]\nkind = "i2sb"', {"kind": "i2sb", "length": 1000}),
        ('[schedule]\nkind = "rddm"\nlength = 60', {"kind": "rddm", "length": 60, "total_noise": 0.5}),
        ("[schedule]\nlength = 60", {"kind": "rddm", "length": 60, "total_noise": 0.5}),
    ],
)
def test_another_kind_takes_nothing_of_the_one_below(write, text, expected):
    schedule = read(write("mine.toml", f'include = "base.toml"\nname = "mine"\n{text}\n')).schedule
    assert {key: getattr(schedule, key) for key in expected} == expected


def test_another_degradation_begins_with_its_own_ranges(write):
    text = 'include = "base.toml"\nname = "mine"\ndata.degrade.name = "{}"\n'
    assert read(write("rain.toml", text.format("rain"))).data.degrade.parameters == {}
    assert read(write("noise.toml", text.format("noise"))).data.degrade.parameters == {"sigma": (1.0, 2.0)}
    assert override(read("tiny"), ["data.degrade.name=rain"]).data.degrade.parameters == {}


@pytest.mark.parametrize("name", names())
def test_a_preset_may_be_included(write, name):
    mine = read(write("mine.toml", f'include = "{name}"\nname = "mine"\n'))
    assert mine == read(name).model_copy(update={"name": "mine", "summary": "", "origin": None})


def test_a_path_is_relative_to_the_file_that_includes(write):
    write("deep/one.toml", 'include = "../shared/two.toml"\n[training]\nbatch = 9\n')
    write("shared/two.toml", 'include = "three.toml"\n')
    write("shared/three.toml", "[training]\nseed = 99\n")
    write("three.toml", "not toml")
    mine = read(write("mine.toml", 'include = ["base.toml", "deep/one.toml"]\nname = "mine"\n'))
    assert (mine.training.batch, mine.training.seed) == (9, 99)
    absolute = str(Path.cwd() / "base.toml")
    assert read(write("shared/far.toml", f'include = "{absolute}"\nname = "far"\n')).training.batch == 3


def test_what_is_stored_includes_nothing(write):
    mine = read(write("mine.toml", 'include = "base.toml"\nname = "mine"\n'))
    assert "include" not in mine.toml() and parse(mine.toml()) == mine


@pytest.mark.parametrize("value", ['"base.toml"', '["tiny"]', "[]", "1"])
def test_text_never_has_a_file_read(write, value):
    with pytest.raises(
        ConfigError, match="^model.safetensors:1: include: only a file may include another recipe; write"
    ):
        parse(f"include = {value}\n{WHOLE}", "model.safetensors")
    with pytest.raises(ConfigError, match="--set include=.*: include: only a file may include"):
        override(read("tiny"), [f"include={value}"])


@pytest.mark.parametrize("value", ["1", "[1]", '{ a = "tiny" }', "true", '["tiny", ["tiny"]]'])
def test_what_is_included_is_named_by_text(write, value):
    write("mine.toml", f'name = "mine"\n\ninclude = {value}\n')
    assert re.match("mine.toml:3: include: .* is no recipe's name; give a preset's", told("mine.toml")[0])


@pytest.mark.parametrize(
    ("files", "chain"),
    [
        ({"a": "a"}, "a.toml includes a.toml"),
        ({"a": "b", "b": "a"}, "a.toml includes b.toml includes a.toml"),
        ({"a": "b", "b": "sub/c", "sub/c": "../b"}, "a.toml includes b.toml includes sub/c.toml includes b.toml"),
    ],
)
def test_a_recipe_that_includes_itself_is_refused_by_its_chain(write, files, chain):
    for name, included in files.items():
        write(f"{name}.toml", f'include = "{included}.toml"\n')
    assert told("a.toml") == [f"{chain}: a recipe cannot include itself; leave one of them out"]


def test_one_file_may_be_included_by_two(write):
    write("one.toml", 'include = "base.toml"\n')
    write("two.toml", 'include = "base.toml"\n')
    assert read(write("mine.toml", 'include = ["one.toml", "two.toml"]\nname = "mine"\n')).training.batch == 3


@pytest.mark.parametrize(
    ("included", "message"),
    [
        ("gone.toml", "cannot read recipe 'gone.toml', which mine.toml includes middle.toml includes: .*No such file"),
        ("tinny", "no recipe 'tinny', which mine.toml includes middle.toml includes; did you mean 'tiny'"),
        ("", "no recipe ''"),
    ],
)
def test_what_is_missing_is_named_with_its_chain(write, included, message):
    write("middle.toml", f'include = "{included}"\n')
    write("mine.toml", 'include = "middle.toml"\n')
    assert re.match(message, told("mine.toml")[0])


def test_no_more_files_are_read_than_are_allowed(write):
    last = MAX_FILES - 1
    for number in range(last):
        write(f"{number}.toml", f'include = "{number + 1}.toml"\nname = "n{number}"\n')
    write(f"{last}.toml", WHOLE)
    assert read("0.toml").name == "n0"
    write("more.toml", 'include = "0.toml"\nname = "more"\n')
    assert told("more.toml") == ["more.toml includes more than 15 recipes; write some of them together"]
    write("wide.toml", f"include = {['tiny'] * MAX_FILES}\n")
    assert "wide.toml includes more than 15" in told("wide.toml")[0]


def test_the_limits_are_of_every_file(write):
    write("mine.toml", 'include = "long.toml"\nname = "mine"\n')
    for text in ("#" * 80 + "\n") * (MAX_TEXT // 80), "x = " + "[" * 20 + "]" * 20, "name = ", "# " + "x" * 5000:
        write("long.toml", text)
        assert re.match(r"long.toml( is too long| is nested too deeply|:1: not TOML)", told("mine.toml")[0])


# Where a fault is


CASES = {
    "a value": ("training.batch = 0", "1: training.batch: Input should be greater than or equal to 1 (is 0)"),
    "a table's": ("[training]\n\nbatch = 'x' # 2", "3: training.batch: Input should be a valid integer (is 'x')"),
    "in a line": ("network = { mask = 1 }", "1: network.mask: Input should be a valid boolean (is 1)"),
    "in an array": (
        "[training.optimiser]\nbetas = [\n0.5,\n1 ]",
        "4: training.optimiser.betas.1: Input should be less than 1 (is 1)",
    ),
    "a table of several": (
        "[[data.mixture]]\npath = 'a'\n[[data.mixture]]\nweight = 'x'",
        "4: data.mixture.1.weight: Input should be a valid number (is 'x')",
    ),
    "a check of such a table": (
        "[[data.mixture]]\npath = 'a'\n[[data.mixture]]\nweight = 0",
        "4: data.mixture.1: weight is 0.0; allowed are 1e-06 to 1000000.0",
    ),
    "a member of a union": (
        "[schedule]\nkind = 'diffuir'\n[schedule.rddm.noise]\nexponent = 'x'",
        "4: schedule.rddm.noise.exponent: Input should be a valid number (is 'x')",
    ),
    "a check of it": (
        "[schedule]\nkind = 'ddpm'\nlength = -1",
        "3: schedule: length is -1; allowed are 1 to 100000",
    ),
    "an unknown key": (
        "[training]\nbach = 3",
        "2: training.bach: there is no such setting; did you mean training.batch?",
    ),
    "one of a kind": (
        "[network]\nbackbone = { kind = 'dit', widht = 1 }",
        "2: network.backbone.widht: there is no such setting",
    ),
    "one that is another kind's": (
        "[network.backbone]\nkind = 'unet'\nwidht = 1",
        "3: network.backbone.widht: there is no such setting; did you mean network.backbone.width?",
    ),
    "one of another table": ("batch = 3", "1: batch: there is no such setting; did you mean training.batch?"),
    "a table that is none": ("[trainig]\nbatch = 2", "1: trainig: there is no such setting; did you mean training?"),
    "a word": (
        "training.decay = 'cosin'",
        "1: training.decay: 'cosin' is not allowed; take 'cosine', 'constant' or 'plateau'; did you mean 'cosine'?",
    ),
    "an enum's": (
        "data.augment = 'flip'",
        "1: data.augment: 'flip' is not allowed; take 'turns', 'mirror', 'always-mirror' or 'none'",
    ),
    "a number for a word": ("training.loss = 1", "1: training.loss: 1 is not allowed; take 'l1', 'l2' or 'smooth-l1'"),
    "a choice of numbers": (
        "[network.backbone]\nkind = 'dit'\npatch = 3",
        "3: network.backbone.patch: 3 is not allowed; take 2, 4 or 8",
    ),
    "a kind": (
        "[network]\nshows_input = true\n[network.backbone]\nkind = 'uent'",
        "4: network.backbone.kind: 'uent' is not allowed; take 'nafnet', 'unet', 'ddim-unet', 'dit'; "
        "did you mean 'unet'?",
    ),
    "no kind": (
        "[network]\n\nbackbone = { width = 8 }",
        "3: network.backbone.kind: Field required; take 'nafnet', 'unet', 'ddim-unet', 'dit'",
    ),
    "one thing or another": (
        "[data.degrade]\nname = 'noise'\n[data.degrade.parameters]\nsigma = 'x'",
        "4: data.degrade.parameters.sigma: Input should be a valid array (is 'x'); or: "
        "Input should be a valid number (is 'x')",
    ),
    "a part of the one": (
        "[data.degrade]\nname = 'noise'\n[data.degrade.parameters]\nsigma = [1,\n'x']",
        "5: data.degrade.parameters.sigma.1: Input should be a valid number (is 'x')",
    ),
    "a table's missing key": (
        "[[data.mixture]]\n[data.mixture.degrade]\nparameters = {}",
        "2: data.mixture.0.degrade.name: Field required",
    ),
    "what does not fit together": (
        "[sampling]\neta = 0\nsteps = 2000",
        "3: sampling.steps is 2000; allowed are 1 to 1000",
    ),
    "two that do not": (
        "[sampling]\norder = 'noise-first'",
        "2: sampling.order noise-first removes residual and noise one by one, but this network is told one time only; "
        "take simultaneous, or train with a prediction of two heads",
    ),
    "a network too large": (
        "\n[network.backbone]\nkind = 'unet'\nwidth = 2048\nmultipliers = [16, 16, 16]",
        "2: the network would have 3.4e+11 parameters; allowed are 2e+09",
    ),
    "a long value": (
        f"training.loss = '{'x' * 99}'",
        f"1: training.loss: '{'x' * 56}... is not allowed; take 'l1', 'l2' or 'smooth-l1'",
    ),
    "a date": ("[training]\nbatch = 1979-05-27", "2: training.batch: a date or a time; no setting is one"),
}  # fmt: skip


def completed(text):
    """A recipe that is whole but for the fault of `text`, which stands in a file of its own."""
    Path("rest.toml").write_text('task = "x"\ndata.crop = 16\ndata.picture = 32\ndata.degrade.name = "noise"\n')
    Path("mine.toml").write_text(f"{text}\n")
    Path("whole.toml").write_text('include = ["rest.toml", "mine.toml"]\nname = "whole"\n')
    return "whole.toml"


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_its_file_and_line(write, case):
    text, message = CASES[case]
    assert told(completed(text)) == [f"mine.toml:{message}"]


def test_all_faults_are_told_in_the_order_of_their_lines(write):
    write("low.toml", "[training]\nbatch = 0\nseed = -1\n")
    write(
        "mine.toml",
        'include = ["base.toml", "low.toml"]\nname = "mine"\n[training]\nema = 1\nx = 1\n[data]\ncrop = "x"\n',
    )
    starts = ["low.toml:2: training.batch", "low.toml:3: training.seed", "mine.toml:4: training.ema",
              "mine.toml:5: training.x", "mine.toml:7: data.crop"]  # fmt: skip
    lines = told("mine.toml")
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


def test_all_that_does_not_fit_together_is_told(write):
    text = 'include = "base.toml"\nname = "mine"\n[sampling]\nsteps = 51\norder = "noise-first"\n[data]\ncrop = 18\n'
    lines = told(write("mine.toml", text + "[training.optimiser]\nper_head = true\n"))
    assert [line.partition(" ")[0] for line in lines] == [f"mine.toml:{number}:" for number in (4, 5, 7, 9)]


def test_a_key_of_a_table_that_was_replaced_has_no_place_more(write):
    write("mine.toml", 'include = "base.toml"\nname = "mine"\n[schedule]\nkind = "resfusion"\n')
    assert told("mine.toml") == [
        "mine.toml:3: schedule: Resfusion takes either length (T before truncation) or steps (the levels that remain)"
    ]


def test_a_fault_of_a_setting_from_the_command_line_names_it():
    for setting, message in {
        "training.batch=0": "training.batch: Input should be greater than or equal to 1 (is 0)",
        "training.bach=4": "training.bach: there is no such setting; did you mean training.batch?",
        "network.backbone={kind='dit', patch=3}": "network.backbone.patch: 3 is not allowed; take 2, 4 or 8",
        "data.crop=17": "data.crop is 17; this network needs a multiple of 4",
    }.items():
        with pytest.raises(RecipeError) as caught:
            override(read("tiny"), ["training.seed=3", setting])
        assert str(caught.value) == f"--set {setting}: {message}"
    with pytest.raises(RecipeError) as caught:
        override(read("tiny"), ["schedule.length=4"])
    assert str(caught.value) == "tiny with schedule.length=4: sampling.steps is 5; allowed are 1 to 4"


def test_a_key_cannot_speak_to_the_terminal(write):
    (line,) = told(write("mine.toml", WHOLE + '"\\u001b[31m" = 1\n'))
    assert line == r"mine.toml:29: training.'\x1b[31m': there is no such setting"
    (line,) = told(write("mine.toml", WHOLE + f"{'k' * 2000} = 1\n"))
    assert len(line) < 200


def test_very_many_faults_are_cut_short(write):
    lines = told(write("mine.toml", WHOLE + "".join(f"k{number} = 1\n" for number in range(150))))
    assert len(lines) == 101 and lines[-1] == "mine.toml: 50 more faults are not shown; mend these first"


# What is checked before training


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb == 2\n", "2: not TOML: Invalid value, at column 4"),
        ("a = 1\n\n[b\n\n", "3: not TOML: Expected ']' at the end of a table declaration, at column 3"),
        ('a = 1\nb = """x\n\n', "2: not TOML: Unterminated string, at the end"),
        ("a = 1\na = 2", "2: not TOML: Cannot overwrite a value, at "),
    ],
)
def test_what_is_no_toml_is_told_where_it_is_none(write, text, told):
    for name in (write("mine.toml", text), write("around.toml", 'name = "x"\ninclude = "mine.toml"\n')):
        with pytest.raises(ConfigError, match=f"^mine.toml:{re.escape(told)}") as caught:
            read(name)
        (fault,) = check(name)
        assert str(fault) == str(caught.value) and fault.spot.line == int(told[0])
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(fault)


def test_a_recipe_without_faults_has_none(write):
    assert check("base.toml") == check("tiny") == ()
    assert all(check(name) == () for name in names())


def test_faults_have_a_file_a_line_and_a_key(write):
    (fault,) = check(write("mine.toml", WHOLE.replace("length = 50", "length = 0")))
    assert (fault.spot.source, fault.spot.line, fault.key) == ("mine.toml", 8, "schedule.length")
    assert fault.text == "schedule: length is 0; allowed are 1 to 100000"
    (fault,) = check(write("mine.toml", "x"))
    assert (str(fault.spot), fault.key) == ("mine.toml:1", "") and str(fault).startswith("mine.toml:1: not TOML: ")
    again = pickle.loads(pickle.dumps(RecipeError(check("mine.toml"))))
    assert str(again) == str(fault) and again.faults == (fault,)
    (fault,) = check("gone.toml")
    assert "cannot read recipe 'gone.toml'" in str(fault)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "noise"', 'name = "noize"', "mine.toml:14: data.degrade.name: 'noize' is not a degradation"),
        ("sigma = [1, 2]", "sgima = [1, 2]", "mine.toml:14: data.degrade.parameters.sgima: 'sgima' is not a parameter"),
        ("sigma = [1, 2]", "sigma = [3, 2]", "mine.toml:14: data.degrade.parameters.sigma: sigma = "),
        ('path = "a"', '\ndegrade = { name = "x" }', "mine.toml:18: data.mixture.0.degrade.name: 'x' is not a"),
    ],
)  # fmt: skip
def test_degradations_are_checked(write, old, new, expected):
    (fault,) = check(write("mine.toml", WHOLE.replace(old, new)))
    assert str(fault).startswith(expected)


def test_what_only_a_folder_of_pictures_can_give_is_no_fault(write):
    assert check(write("mine.toml", WHOLE.replace("[data]", "[data]\nfrom_masks = true"))) == ()


# What differs


def test_differences_are_told_in_the_order_of_a_recipe():
    one = read("tiny")
    other = override(one, ["training.batch=4", "sampling.eta=0.5", "data.domains=['cat']", "training.decay=constant"])
    assert difference(one, one) == []
    assert difference(one, other) == [
        "sampling.eta: 0.0 -> 0.5",
        'data.domains: [] -> ["cat"]',
        "training.batch: 8 -> 4",
        'training.decay: "cosine" -> "constant"',
    ]
    assert [line.split(": ")[1].split(" -> ")[::-1] for line in difference(other, one)] == [
        line.split(": ")[1].split(" -> ") for line in difference(one, other)
    ]


def test_a_setting_that_one_has_not_is_not_set():
    one = read("tiny")
    told = difference(one, override(one, ["schedule.kind=i2sb", "data.degrade.name=rain"]))
    assert 'schedule.kind: "rddm" -> "i2sb"' in told and "schedule.total_noise: 0.01 -> not set" in told
    assert "schedule.low: not set -> 0.0001" in told
    assert "data.degrade.parameters.sigma: [25.0, 50.0] -> not set" in told


def test_tables_in_arrays_are_told_one_by_one(write):
    one = read("base.toml")
    other = override(one, ["data.mixture=[{path='a', weight=2.0}]"])
    assert difference(one, other) == ["data.mixture.0.weight: 1.0 -> 2.0"]


def test_what_differs_is_enough_to_make_the_one_from_the_other():
    one, other = read("tiny"), override(read("denoise"), ["name=tiny"])
    settings = [line.replace(": ", "=", 1).partition("=") for line in difference(one, other)]
    assert override(one, [f"{key}={values.partition(' -> ')[2]}" for key, _, values in settings]) == other
