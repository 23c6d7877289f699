"""Pictures from noise: seeds, sizes, batches, what is kept of the way, and the folder they go to."""

import pytest
import torch

from residiff.data import images
from residiff.denoiser import from_model
from residiff.errors import ConfigError, LockedError, ModelFileError
from residiff.noise import seeded_noise
from residiff.restore import Gallery, Restorer, generate
from residiff.restore.gallery import tiled
from residiff.sample import general

SETTINGS = ["task=generate", "network.shows_input=false", "data.degrade={name='blank'}", "data.crop=16"]


@pytest.fixture(scope="module")
def maker(untrained):
    return Restorer(untrained(*SETTINGS), "cpu")


def drawn(maker, *arguments, **options):
    return [made.picture for made in generate(maker, *arguments, **options)]


def test_each_picture_is_restored_from_grey_with_the_noise_of_its_seed(maker):
    """The law itself, one picture at a time: x_T = x_in + n eps with x_in = 0, walked by the general step."""
    schedule, made = maker.recipe.schedule, list(generate(maker, 3, seed=5))
    assert [one.seed for one in made] == [5, 6, 7]
    for one in made:
        noise = seeded_noise(one.seed, (1, 3, 16, 16))
        x_in = torch.zeros(1, 3, 16, 16)
        levels = schedule.levels(2)
        with torch.inference_mode():
            start = schedule.start(x_in, noise())
            *_, last = general(maker.denoiser, start, x_in, levels, eta=maker.recipe.sampling.eta, noise=noise)
        torch.testing.assert_close(one.picture, from_model(last.x[0]), rtol=0, atol=1e-5)


def test_the_batch_does_not_matter(maker):
    for batch in (1, 3, 16):
        for one, other in zip(drawn(maker, 4, batch=2), drawn(maker, 4, batch=batch), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1 / 255)


def test_pictures_of_other_seeds_differ(maker):
    first, second = drawn(maker, 2)
    assert not torch.equal(first, second)
    assert torch.equal(second, drawn(maker, 1, seed=1)[0]) or torch.allclose(
        second, drawn(maker, 1, seed=1)[0], atol=1e-5
    )


def test_the_side_is_what_was_asked_for(maker):
    assert drawn(maker, 1, size=24)[0].shape == (3, 24, 24)
    assert drawn(maker, 1)[0].shape == (3, 16, 16)


def test_what_is_kept_of_the_way(maker):
    (made,) = generate(maker, 1, steps=4, keep_moments=True)
    assert len(made.moments) == 5
    assert torch.equal(made.moments[-1][0], made.picture)
    assert all(x.min() >= 0 and x.max() <= 1 for moment in made.moments for x in moment)
    assert not next(iter(generate(maker, 1))).moments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 15}, "size is 15; model 'tiny' makes multiples of 4"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"seed": -1}, "seed"),
        ({"size": 0}, "size"),
    ],
)
def test_what_cannot_be_is_refused_at_once(maker, options, message):
    with pytest.raises(ConfigError, match=message):
        generate(maker, 1, **options)
    with pytest.raises(ConfigError, match="count"):
        generate(maker, 0)


def test_a_model_that_restores_is_refused(tiny):
    with pytest.raises(ConfigError, match="is for 'denoise', not to generate; use `residiff restore`"):
        generate(tiny, 1)


def test_values_that_are_not_finite_are_a_fault_of_the_model(untrained):
    model = untrained(*SETTINGS)
    next(iter(model.weights.values())).fill_(float("nan"))
    with pytest.raises(ModelFileError, match="not finite"):
        list(generate(Restorer(model, "cpu"), 1))


def test_a_gallery_holds_a_file_each_and_a_grid(maker, tmp_path):
    gallery = Gallery(tmp_path / "out", 3, moments=True)
    with gallery.lock():
        made = list(generate(maker, 3, keep_moments=True))
        for one in made:
            gallery.add(one)
        with pytest.raises(LockedError), Gallery(tmp_path / "out", 1).lock():
            pass
    assert gallery.finish() == tmp_path / "out"
    names = {path.name for path in (tmp_path / "out").iterdir()} - {".lock"}
    assert names == {f"{i:03d}{end}" for i in range(3) for end in (".png", ".steps")} | {"grid.png"}
    held = images.read(tmp_path / "out" / "001.png").pixels
    torch.testing.assert_close(held, made[1].picture, rtol=0, atol=0.51 / 255)
    steps = sorted(path.name for path in (tmp_path / "out" / "001.steps").iterdir())
    assert steps == [f"{k:02d}-{name}.png" for k in range(3) for name in ("x", "x0")]


def test_fewer_steps_leave_nothing_of_more(maker, tmp_path):
    for steps in (4, 1):
        gallery = Gallery(tmp_path, 1, moments=True)
        gallery.add(next(iter(generate(maker, 1, steps=steps, keep_moments=True))))
    assert len(list((tmp_path / "000.steps").iterdir())) == 2 * 2


def test_the_grid_is_as_square_as_can_be_and_keeps_the_order():
    tiles = [torch.full((3, 4, 6), value / 10) for value in range(5)]
    sheet = tiled(tiles)
    assert sheet.shape == (3, 2 * 6 - 2, 3 * 8 - 2)
    assert sheet[0, 0, 8].item() == pytest.approx(0.1) and sheet[0, 6, 8].item() == pytest.approx(0.4)
    assert sheet[0, 4, 0] == 1 and sheet[0, 6, 16] == 1


def test_a_grid_alone_in_a_picture(maker, tmp_path):
    gallery = Gallery(tmp_path / "grid.png", 2)
    with gallery.lock():
        for one in generate(maker, 2):
            gallery.add(one)
        gallery.finish()
    assert images.read(tmp_path / "grid.png").pixels.shape == (3, 16, 34)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    with pytest.raises(ConfigError, match="need a folder"):
        Gallery(tmp_path / "grid.png", 2, moments=True)
    with pytest.raises(ConfigError, match="is a file"):
        (tmp_path / "notes.txt").write_text("mine")
        Gallery(tmp_path / "notes.txt", 2)
