"""`residiff plot`: the commands end in files, and say what a model cannot do."""

import pytest

from residiff.checkpoint import save_model
from residiff.cli.plot import NAMES
from residiff.sample import ORDERS

TWO_TIMES = ("prediction.kind=residual-noise", "network.time_input=coefficient", "name=two")


@pytest.fixture(scope="module")
def two(tmp_path_factory, untrained):
    """A model file whose network is told both times."""
    path = tmp_path_factory.mktemp("models") / "two.safetensors"
    save_model(path, untrained(*TWO_TIMES))
    return path


def test_the_help_names_every_order():
    assert NAMES.replace(" or ", ", ").replace(",,", ",").split(", ") == list(ORDERS)


@pytest.mark.parametrize("order", [[], ["--order", "residual-first"]])
def test_trajectory(cli, tmp_path, picture_file, two, order):
    source, clean = picture_file("in.png"), picture_file("clean.png", seed=1)
    ended = cli("plot", "trajectory", source, "-m", two, "-o", tmp_path / "t.svg", "--truth", clean, *order)
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.splitlines() == [f"wrote {tmp_path / 't.svg'}", f"wrote {tmp_path / 't.csv'}"]
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + (5 if order else 3)


def test_trajectory_of_a_model_that_needs_a_mask(cli, tmp_path, picture_file, masked_file):
    source, mask = picture_file("in.png"), picture_file("mask.png", (9, 11))
    arguments = ("plot", "trajectory", source, "-m", masked_file, "-o", tmp_path / "t.png")
    assert cli(*arguments, "--mask", mask).code == 0
    ended = cli(*arguments)
    assert ended.code == 2 and "needs a mask" in ended.err


def test_one_time_is_not_enough_to_remove_one_by_one(cli, tmp_path, picture_file, tiny_file):
    for command in ("trajectory", "paths", "spectra"):
        arguments = (picture_file("in.png"), "-m", tiny_file, "-o", tmp_path / "t.png", "--order", "noise-first")
        ended = cli("plot", command, *arguments)
        assert ended.code == 2 and "told one time only" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png"]


def test_paths(cli, tmp_path, picture_file, two):
    ended = cli("plot", "paths", picture_file("in.png"), "-m", two, "-o", tmp_path / "p.png")
    assert ended.code == 0, ended.err
    rows = [line.split(",")[0] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert list(dict.fromkeys(rows)) == list(ORDERS)
    chosen = ("--order", "noise-first", "--order", "simultaneous")
    assert cli("plot", "paths", tmp_path / "in.png", "-m", two, "-o", tmp_path / "q.png", *chosen).code == 0
    rows = [line.split(",")[0] for line in (tmp_path / "q.csv").read_text().splitlines()[1:]]
    assert list(dict.fromkeys(rows)) == ["noise-first", "simultaneous"]


def test_spectra_of_a_folder(cli, tmp_path, picture_file, two):
    picture_file("in/a.png", (20, 30, 3), seed=1)
    picture_file("in/b.png", (24, 16, 3), seed=2)
    ended = cli("plot", "spectra", tmp_path / "in", "-m", two, "-o", tmp_path / "s.png")
    assert ended.code == 0, ended.err
    said = ended.out.decode()
    assert "share of power below 0.1 cycles/pixel" in said and "of white noise 3.1%" in said
    assert [said.count(name) for name in ("residual-only", "noise-only", "removed")] == [3, 3, 2]
    rows = (tmp_path / "s.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 3 * 2 * 71
    assert len({line.split(",")[0] for line in rows[1:]}) == 2
    assert cli("plot", "spectra", tmp_path / "in" / "a.png", "-m", two, "-o", tmp_path / "a.png").code == 0
    assert (tmp_path / "a.csv").read_text().splitlines()[1] != rows[1]  # the second picture counts as well


def test_mistakes_end_with_a_reason(cli, tmp_path, picture_file, two):
    source = picture_file("in.png")
    for arguments, code, words in (
        (("trajectory", source, "-m", two, "-o", tmp_path / "t.pdf"), 2, "a plot is a .png or a .svg"),
        (("trajectory", source, "-m", two, "-o", tmp_path / "t.png", "--order", "backwards"), 2, "backwards"),
        (("trajectory", source, "-m", two, "-o", tmp_path / "t.png", "--steps", "0"), 2, "steps is 0"),
        (("trajectory", tmp_path / "no.png", "-m", two, "-o", tmp_path / "t.png"), 3, "no.png"),
        (("paths", source, "-m", "tinny", "-o", tmp_path / "t.png"), 4, "tinny"),
        (("spectra", tmp_path / "empty", "-m", two, "-o", tmp_path / "t.png"), 2, "steps"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        ended = cli("plot", *arguments)
        assert (ended.code, words in ended.err) == (code, True), ended.err
