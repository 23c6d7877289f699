"""`generate`, `translate`, and what the three samplers share: settings changed for one run, and the steps written."""

import pytest

from residiff.checkpoint import save_model
from residiff.data import images

GENERATE = ["task=generate", "network.shows_input=false", "data.degrade={name='blank'}", "data.crop=16"]
TWO_TIMES = ["prediction={kind='residual-noise'}", "network.time_input=coefficient"]


@pytest.fixture(scope="module")
def files(untrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    kinds = {
        "generate": GENERATE,
        "translate": ["task=translate", "network.shows_input=false"],
        "paths": TWO_TIMES,
    }
    for name, settings in kinds.items():
        save_model(folder / f"{name}.safetensors", untrained(*settings))
    return {name: folder / f"{name}.safetensors" for name in kinds}


def test_generate(cli, files, tmp_path):
    done = cli("generate", "-m", files["generate"], "-n", 3, "-o", tmp_path / "out", "--seed", 4, "--save-steps")
    assert done.code == 0 and "wrote" in done.err
    again = cli("generate", "-m", files["generate"], "-n", 1, "-o", tmp_path / "one.png", "--seed", 6)
    assert again.code == 0
    last, alone = (images.read(path).pixels for path in (tmp_path / "out/002.png", tmp_path / "one.png"))
    assert (last - alone).abs().max() <= 1.01 / 255
    assert (tmp_path / "out/grid.png").is_file() and (tmp_path / "out/000.steps/00-x.png").is_file()


def test_each_command_names_the_other_for_a_model_of_its_kind(cli, files, tiny_file, picture_file, tmp_path):
    done = cli("generate", "-m", tiny_file, "-o", tmp_path / "out")
    assert done.code == 2 and "use `residiff restore`" in done.err
    done = cli("translate", picture_file("a.png"), "-m", tiny_file, "-o", tmp_path / "b.png")
    assert done.code == 2 and "use `residiff restore`" in done.err
    assert not (tmp_path / "out").exists() and not (tmp_path / "b.png").exists()


def test_a_model_that_generates_restores_nothing(cli, files, picture_file, tmp_path):
    done = cli("restore", picture_file("a.png"), "-m", files["generate"], "-o", tmp_path / "b.png")
    assert done.code == 2 and "use `residiff generate`" in done.err


def test_what_a_model_predicts_cannot_be_changed(cli, tiny_file, picture_file, tmp_path):
    arguments = ("restore", picture_file("a.png"), "-m", tiny_file, "-o", tmp_path / "b.png")
    done = cli(*arguments, "--set", "prediction.kind=x0")
    assert done.code == 2 and "was trained to predict 'residual', not 'x0'" in done.err


def test_a_readjusted_schedule_is_walked_in_one_order(cli, files, picture_file, tmp_path):
    readjusted = "sampling.readjusted={kind='rddm', residual={shape='power', exponent=2.0}}"
    arguments = ("plot", "trajectory", picture_file("a.png"), "-m", files["paths"], "-o", tmp_path / "t.png")
    assert cli(*arguments, "--set", readjusted, "--steps", 3).code == 0
    done = cli(*arguments, "--set", readjusted, "--order", "noise-first")
    assert done.code == 2 and "walked in one order" in done.err


def test_a_grid_of_translations(cli, files, picture_file, tmp_path):
    picture_file("in/a.png", (18, 20, 3))
    arguments = ("translate", tmp_path / "in", "-m", files["translate"], "-o", tmp_path / "out")
    assert cli(*arguments, "--grid", tmp_path / "grid.png").code == 0
    assert images.read(tmp_path / "grid.png").pixels.shape[2] > 40
    assert cli(*arguments, "--suffix", "../x").code == 2


def test_a_grid_hides_no_failure(cli, files, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    arguments = ("translate", tmp_path / "in", "-m", files["translate"], "-o", tmp_path / "out", "--grid")
    done = cli(*arguments, tmp_path / "grid.png")
    assert done.code == 3 and not (tmp_path / "grid.png").exists()
    early = cli(*arguments, tmp_path / "grid.jpg")
    assert early.code == 2 and "failed" not in early.err


def test_translate(cli, files, picture_file, tmp_path):
    picture_file("in/a.png", (18, 20, 3))
    done = cli("translate", tmp_path / "in", "-m", files["translate"], "-o", tmp_path / "out", "--suffix", "_t")
    assert done.code == 0
    assert images.read(tmp_path / "out/a_t.png").pixels.shape == (3, 18, 20)


def test_steps_are_written_beside_the_result(cli, tiny_file, picture_file, tmp_path):
    source = picture_file("a.png")
    done = cli("restore", source, "-o", tmp_path / "b.png", "-m", tiny_file, "--steps", 3, "--save-steps")
    assert done.code == 0
    names = sorted(path.name for path in (tmp_path / "b.steps").iterdir())
    assert names == [f"{k:02d}-{name}.png" for k in range(4) for name in ("x", "x0")]
    result, last = (images.read(path).pixels for path in (tmp_path / "b.png", tmp_path / "b.steps/03-x.png"))
    assert (result - last).abs().max() == 0
    piped = cli("restore", "-", "-o", "-", "-m", tiny_file, "--save-steps", stdin=source.read_bytes())
    assert piped.code == 2 and "name files, not a pipe" in piped.err


@pytest.mark.parametrize(
    "setting",
    [
        "sampling.order=residual-first",
        "sampling.order=noise-first",
        "sampling.order=residual-only",
        "sampling.readjusted={kind='rddm', residual={shape='power', exponent=2.0}}",
        "prediction.drive=residual",
        "network.clamp=residual",
    ],
)
def test_settings_may_be_changed_for_one_run(cli, files, picture_file, tmp_path, setting):
    source = picture_file("a.png")
    for name, extra in (("plain", []), ("changed", ["--set", setting])):
        done = cli("restore", source, "-o", tmp_path / f"{name}.png", "-m", files["paths"], "--steps", 4, *extra)
        assert done.code == 0, done.err
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "changed.png").read_bytes()


def test_a_setting_that_the_weights_do_not_fit_is_refused(cli, tiny_file, picture_file, tmp_path):
    arguments = ("restore", picture_file("a.png"), "-o", tmp_path / "b.png", "-m", tiny_file, "--set")
    assert cli(*arguments, "network.backbone.width=16").code == 4
    assert cli(*arguments, "sampling.order=sideways").code == 2
    done = cli(*arguments, "sampling.order=residual-first")
    assert done.code == 2 and "told one time only" in done.err
