"""Automatic objective selection: both readings of one output, alpha's way to a decision, and what follows from it."""

import csv
import math
from itertools import islice

import pytest
import torch
from torch import nn

from residiff import files
from residiff.data.pairs import Pair, SyntheticPairs
from residiff.denoiser import LOSSES, Denoiser
from residiff.errors import ConfigError, DivergedError, LockedError
from residiff.inference import Shown
from residiff.prediction import X0, Clamp, Noise, Residual, ResidualNoise
from residiff.recipe import override, parse
from residiff.schedule import RDDM, Level
from residiff.train import Run, auto
from residiff.train.keeping import states
from residiff.train.objective import changed, decided

TINY = parse("""
    name = "tiny"
    task = "shadow"
    [schedule]\nkind = "rddm"\nlength = 100
    [network]\nmask = true
    [network.backbone]\nkind = "nafnet"\nwidth = 8\nencoder = [1]\nmiddle = 1\ndecoder = [1]
    [data]
    crop = 16
    picture = 24
    reuse = 2
    window = 8
    degrade = { name = "shadow" }
    [training]
    iterations = 4
    batch = 4
    learning_rate = 2e-3
    warm_up = 3
""")
GENERATION = override(
    TINY,
    ["task=generate", "network.mask=false", "network.shows_input=false", "data.degrade.name=blank",
     "schedule.total_noise=1.0", "training.loss=l2", "data.crop=8"],
)  # fmt: skip
FAST = 5e-4
NOISE = Noise(guard=1e-6)


def pairs(recipe=TINY):
    return SyntheticPairs(recipe.data, recipe.training.seed)


def selected(recipe, folder, limit=600, **options):
    return list(auto.select_objective(recipe, pairs(recipe), folder, limit=limit, **{"alpha_rate": FAST, **options}))


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Both readings


def published(alpha, count, total, t, x_t, x_in, o):
    """(R_hat, eps_hat) from RDDM's formulas, the increments' sums written out."""
    abar = sum(2 * (count - i) / (count * (count + 1)) for i in range(t + 1))
    bbar = math.sqrt(total * sum(2 * (i + 1) / (count * (count + 1)) for i in range(t + 1)))
    share = 1e-6 if t == count - 1 else 1 - abar
    x0 = ((x_t - abar * x_in - bbar * o) / share).clamp(-1, 1)
    noise = (x_t - x_in - (abar - 1) * o) / bbar
    return alpha * o + (1 - alpha) * (x_in - x0), alpha * noise + (1 - alpha) * o


@pytest.mark.parametrize("t", [0, 4, 8, 9])
@pytest.mark.parametrize("total", [0.01, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.495, 1.0])
def test_the_readings_are_those_of_the_paper(t, total, alpha):
    x_t, x_in, o = (draw(2, 3, 4, 4, seed=seed) for seed in range(3))
    level = RDDM(length=10, total_noise=total)(t)
    found = auto.read_both(torch.tensor(alpha, dtype=torch.float64), level, x_t, x_in, o)
    for ours, theirs in zip(found, published(alpha, 10, total, t, x_t, x_in, o), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("t", [0, 5, 9])
def test_an_output_that_is_right_gives_both(t):
    level = RDDM(length=10)(t)
    x0, x_in, noise = draw(1, 3, 4, 4).clamp(-1, 1), draw(1, 3, 4, 4, seed=1), draw(1, 3, 4, 4, seed=2)
    x_t = level.mix(x0, x_in - x0, noise)
    for alpha, output in ((1.0, x_in - x0), (0.0, noise)):
        residual, eps = auto.read_both(torch.tensor(alpha, dtype=torch.float64), level, x_t, x_in, output)
        torch.testing.assert_close(eps, noise)
        # At the start eps says nothing of x_0
        if alpha or t < 9:
            torch.testing.assert_close(residual, x_in - x0)


def test_where_there_is_no_residual_zero_is_a_perfect_residual():
    level = RDDM(length=10)(5)
    x0, noise = draw(1, 3, 4, 4).clamp(-1, 1), draw(1, 3, 4, 4, seed=1)
    x_t = level.mix(x0, torch.zeros_like(x0), noise)
    residual, eps = auto.read_both(torch.tensor(1.0), level, x_t, x0, torch.zeros_like(x0))
    assert not residual.any()
    torch.testing.assert_close(eps, noise)


class Fixed(nn.Module):
    """A network that always answers the same."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x, times):
        return (self.answer,)


def one_pixel(output, alpha=0.5, loss="l1"):
    """Losses and alpha's gradient at a = 1, r = n = 1/2 on a pixel of x_0 = 0.4, x_in = 0, eps = 0.6."""
    pixel = torch.ones(1, 1, 1, 1, dtype=torch.float64)

    class Halves:
        def __call__(self, t):
            return Level(t=5, signal=1.0, residual=0.5, noise=0.5, memory=1.0, resnoise=0.0, t_noise=5)

        def __len__(self):
            return 10

    denoiser = Denoiser(Fixed(output * pixel), Halves(), Residual())
    weight = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    batch = Shown(0.4 * pixel, 0 * pixel, None)
    losses = auto.both_losses(weight, denoiser, batch, torch.tensor([5]), 0.6 * pixel, LOSSES[loss])
    (weight * losses[0] + (1 - weight) * losses[1]).backward()
    return losses[0].item(), losses[1].item(), weight.grad.item()


def test_alpha_follows_the_reading_that_is_right():
    # x_t = 0.5. o = R = -0.4: eps from it is 0.6, x_0 from it as eps 1.4, clipped to 1
    assert one_pixel(-0.4) == pytest.approx((0.3, 0.5, -1.0))
    # o = eps = 0.6: x_0 from it is 0.4, eps from it as R 1.6
    assert one_pixel(0.6) == pytest.approx((0.5, 0.5, 1.0))
    # L2 at alpha = 1/4: R_hat = -0.85, eps_hat = -0.15; the clip lets no gradient but alpha's through
    assert one_pixel(-0.4, 0.25, "l2")[:2] == pytest.approx((0.45**2, 0.75**2))


# The decision


def test_it_is_made_at_the_thresholds_themselves():
    below, above = math.nextafter(0.51, 0), math.nextafter(0.49, 1)
    assert auto.decide(0.51) == Residual() and auto.decide(0.6) == Residual()
    assert auto.decide(0.49) == NOISE and auto.decide(0.4) == NOISE
    assert auto.decide(below) is auto.decide(above) is auto.decide(0.5) is None


def test_it_ends_with_the_step_that_decides(tmp_path):
    rows = selected(TINY, tmp_path)
    assert [row.step for row in rows] == list(range(1, len(rows) + 1))
    assert [row.decision for row in rows[:-1]] == [None] * (len(rows) - 1)
    assert rows[-1].decision == rows[-1].objective() == Residual()
    assert abs(rows[0].alpha - 0.5) == pytest.approx(FAST, rel=1e-3)


def test_shadows_are_for_the_residual(tmp_path):
    assert selected(override(TINY, ["training.seed=1"]), tmp_path)[-1].decision == Residual()


def test_generation_is_for_the_noise(tmp_path):
    assert selected(GENERATION, tmp_path)[-1].decision == NOISE


def path_of(folder):
    with (folder / auto.OBJECTIVE).open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def begun(recipe, folder, count=4):
    """The first steps of a selection."""
    steps = auto.select_objective(recipe, pairs(recipe), folder, alpha_rate=FAST)
    rows = list(islice(steps, count))
    steps.close()
    return rows


def test_it_is_a_function_of_the_seed(tmp_path):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    rows = begun(TINY, tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    begun(TINY, tmp_path / "again")
    begun(override(TINY, ["training.seed=11"]), tmp_path / "other")
    assert path_of(tmp_path / "one") == path_of(tmp_path / "again") != path_of(tmp_path / "other")
    assert [float(row["alpha"]) for row in path_of(tmp_path / "one")] == pytest.approx([row.alpha for row in rows])


def test_the_weights_learn_at_the_full_rate_from_the_first_step(tmp_path):
    slow = override(TINY, ["training.learning_rate=2e-3", "training.warm_up=1000"])
    still = override(TINY, ["training.learning_rate=1e-9"])
    paths = [begun(recipe, tmp_path / str(number)) for number, recipe in enumerate((TINY, slow, still))]
    losses = [[row.residual_loss for row in path] for path in paths]
    assert losses[0] == losses[1] and losses[0][0] == losses[2][0]
    assert losses[0][1] != pytest.approx(losses[2][1], rel=1e-3)


def test_undecided_is_said_with_a_mend_and_the_path_is_kept(tmp_path):
    with pytest.raises(ConfigError, match=r"undecided after 3 steps: alpha is 0\.5.*raise alpha's rate"):
        selected(TINY, tmp_path, limit=3)
    assert len(path_of(tmp_path)) == 3


def test_stopped_by_its_reader_it_keeps_the_path(tmp_path):
    assert len(begun(TINY, tmp_path, 2)) == len(path_of(tmp_path)) == 2
    with files.lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("settings", "options", "cause"),
    [
        ([], {"alpha_rate": 0}, "alpha_rate is 0"),
        ([], {"limit": 0}, "limit is 0"),
        (["schedule.total_noise=0"], {}, "has no noise"),
    ],
)
def test_what_cannot_decide_is_refused(tmp_path, settings, options, cause):
    with pytest.raises(ConfigError, match=cause):
        selected(override(TINY, settings), tmp_path, **options)


def test_a_network_that_needs_masks_needs_them(tmp_path):
    data = SyntheticPairs(GENERATION.data, 1)
    with pytest.raises(ConfigError, match="shown a mask"):
        next(auto.select_objective(TINY, data, tmp_path))


def test_a_folder_in_use_or_with_a_run_is_refused(tmp_path):
    with files.lock(tmp_path), pytest.raises(LockedError):
        next(auto.select_objective(TINY, pairs(), tmp_path))
    Run(TINY, tmp_path).save()
    with pytest.raises(ConfigError, match="holds a run already"):
        next(auto.select_objective(TINY, pairs(), tmp_path))


def test_divergence_is_told(tmp_path):
    class Broken:
        source = "broken"
        size = 1

        def name(self, index):
            return "a pair"

        def __call__(self, index):
            pair = pairs()(index)
            return Pair(pair.clean * math.nan, pair.degraded, pair.mask)

    with pytest.raises(DivergedError, match=r"residual nan.*at step 1; lower"):
        list(auto.select_objective(TINY, Broken(), tmp_path))


# What follows from it


def test_the_decided_recipe_differs_in_its_objective_alone():
    given = override(TINY, ["prediction.kind=x0", "network.clamp=x0"])
    for objective in (Residual(), NOISE):
        found = decided(given, objective)
        assert found.prediction == objective
        assert decided(found, X0()) == given


def test_noise_is_clamped_where_nothing_was():
    assert decided(TINY, NOISE).network.clamp is Clamp.X0
    assert decided(TINY, Residual()).network.clamp is Clamp.NONE
    assert decided(override(TINY, ["network.clamp=residual"]), NOISE).network.clamp is Clamp.RESIDUAL
    # The paper's clamp is its own
    assert decided(override(TINY, ["compat=paper"]), NOISE).network.clamp is Clamp.NONE


def test_two_optimisers_become_one():
    settings = ['network.backbone={kind="unet",width=8,multipliers=[1,2]}', "training.optimiser.per_head=true"]
    two = override(changed(TINY, {"prediction": ResidualNoise()}), settings)
    assert not decided(two, Residual()).training.optimiser.per_head
    assert decided(two, ResidualNoise()) == two


@pytest.mark.parametrize("objective", [Residual(), NOISE])
def test_a_stored_decision_is_not_forgotten(tmp_path, objective):
    assert auto.stored(TINY, tmp_path) is None
    chosen = decided(TINY, objective)
    Run(chosen, tmp_path).save()
    assert auto.stored(TINY, tmp_path) == chosen
    for path in states(tmp_path):
        path.write_bytes(b"torn")
    assert auto.stored(TINY, tmp_path) is None
