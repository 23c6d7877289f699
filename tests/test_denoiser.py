"""The denoiser: what its network is shown and told, its loss by hand, and the two ranges of images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.denoiser import (
    LOSSES,
    MASK_FORMS,
    TIME_INPUTS,
    Denoiser,
    coefficient_time,
    from_model,
    index_time,
    to_model,
)
from residiff.errors import ConfigError
from residiff.prediction import (
    X0,
    Clamp,
    Estimate,
    Noise,
    Prediction,
    Residual,
    ResidualNoise,
    ResNoise,
    X0Noise,
)
from residiff.sample import general, noise_first, residual_first, step
from residiff.schedule import RDDM, Resfusion, Schedule

SHAPE = (2, 3, 4, 4)
PREDICTIONS: list[Prediction] = [ResidualNoise(), Residual(), Noise(), X0(), ResNoise()]
every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda prediction: prediction.kind)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed))


class Recorder(nn.Module):
    """Keeps what it is given; head number i answers with its first three channels and its time, times i + 1."""

    size_multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.shown = torch.empty(0)
        self.told: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.shown, self.told = x, times
        return tuple((i + 1) * (x[:, :3] + time[:, None, None, None] / 1000) for i, time in enumerate(times))


def denoiser(prediction: Prediction, schedule: Schedule | None = None, **settings: object) -> tuple[Denoiser, Recorder]:
    network = Recorder()
    return Denoiser(network, schedule or RDDM(length=50), prediction, **settings), network  # type: ignore[arg-type]


def test_the_two_ranges() -> None:
    image = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert to_model(image).tolist() == [-1, -0.5, 0, 1]
    assert torch.equal(from_model(to_model(image)), image)
    assert from_model(torch.tensor([-3.0, 3.0])).tolist() == [0, 1]


@pytest.mark.parametrize("name", LOSSES)
@every_prediction
def test_the_loss_is_the_mean_of_each_head_summed(prediction: Prediction, name: str) -> None:
    """By hand: mean over one head's values of |d|, d^2 or Huber's, then the sum over heads."""
    model, _ = denoiser(prediction)
    x0, x_in, noise, t = draw(0), draw(1), draw(2), torch.tensor([3, 40])
    total = model.loss(x0, x_in, t, noise=noise, loss=LOSSES[name])
    level = model.schedule(t)
    x_t = x0 + level.residual * (x_in - x0) + level.noise * noise
    targets = {
        "residual-noise": (x_in - x0, noise),
        "residual": (x_in - x0,),
        "noise": (noise,),
        "x0": (x0,),
        "resnoise": (noise + level.resnoise * (x_in - x0),),
    }[prediction.kind]  # type: ignore[attr-defined]
    by_hand = 0.0
    for head, target in enumerate(targets):
        gap = ((head + 1) * (x_t + t[:, None, None, None] / 1000) - target).abs().double()
        huber = torch.where(gap < 1, gap**2 / 2, gap - 0.5)
        by_hand += float({"l1": gap, "l2": gap**2, "smooth-l1": huber}[name].mean())
    assert total.shape == ()
    assert float(total) == pytest.approx(by_hand, rel=1e-5)


def test_the_loss_has_a_gradient_and_l1_is_its_default() -> None:
    network = nn.Conv2d(6, 3, 1)

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (self.network(x),)

    model = Denoiser(Backbone(), Resfusion(length=12), Residual())
    x0, x_in, noise, t = draw(0), draw(1), draw(2), torch.tensor([0, 4])
    total = model.loss(x0, x_in, t, noise=noise)
    assert torch.equal(total, model.loss(x0, x_in, t, noise=noise, loss=F.l1_loss))
    total.backward()  # type: ignore[no-untyped-call]
    assert network.weight.grad is not None and network.weight.grad.abs().sum() > 0


@every_prediction
def test_a_perfect_network_has_no_loss_and_gives_x0(prediction: Prediction) -> None:
    x0, x_in, noise, t = draw(0), draw(1), draw(2), torch.tensor([3, 20])
    schedule = RDDM(length=50, total_noise=1.0)

    class Perfect(nn.Module):
        def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return prediction.target(schedule(t), x0, x_in, noise)

    model, level = Denoiser(Perfect(), schedule, prediction), schedule(t)
    assert float(model.loss(x0, x_in, t, noise=noise)) == 0
    estimate = model(level.mix(x0, x_in - x0, noise), level, x_in)
    torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shows_input", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_what_the_network_is_shown(shows_input: bool, mask: bool) -> None:
    """x_t, then x_in, then the condition."""
    model, network = denoiser(Residual(), shows_input=shows_input)
    x_t, x_in, condition = draw(0), draw(1), draw(2, 2, 1, 4, 4)
    model(x_t, model.schedule(7), x_in, condition if mask else None)
    parts = [x_t] + [x_in] * shows_input + [condition] * mask
    assert torch.equal(network.shown, torch.cat(parts, dim=1))


@pytest.mark.parametrize("time", [7, torch.tensor([7, 31])], ids=["one", "batch"])
def test_what_the_network_is_told_of_the_time(time: int | Tensor) -> None:
    schedule, x_t, x_in = RDDM(length=50, total_noise=1.0), draw(0), draw(1)
    times = [7, 7] if isinstance(time, int) else time.tolist()
    for prediction in (Residual(), ResidualNoise()):
        model, network = denoiser(prediction, schedule)
        model(x_t, schedule(time), x_in)
        assert [told.tolist() for told in network.told] == [times] * prediction.heads
    model, network = denoiser(ResidualNoise(), schedule, time_input=coefficient_time)
    model(x_t, schedule(time), x_in)
    assert network.told[0].tolist() == pytest.approx([50 * float(schedule(t).residual) for t in times], rel=1e-6)
    assert network.told[1].tolist() == pytest.approx([50 * float(schedule(t).noise) for t in times], rel=1e-6)
    assert all(told.dtype == torch.float32 and told.shape == (2,) for told in network.told)


def test_time_inputs_by_name() -> None:
    assert {"index": index_time, "coefficient": coefficient_time} == TIME_INPUTS


@pytest.mark.parametrize("order", [residual_first, noise_first])
def test_two_heads_are_told_two_times_and_one_is_refused(order: object) -> None:
    schedule, x_in = RDDM(length=50, total_noise=1.0), draw(1)
    levels = order(schedule.levels(3))  # type: ignore[operator]
    model, network = denoiser(ResidualNoise(), schedule)
    for state in general(model, x_in, x_in, levels):
        if state.level.t != -1 or state.level.t_noise != -1:
            assert [told[0].item() for told in network.told] == [state.level.t, state.level.t_noise]
    single, _ = denoiser(Residual(), schedule)
    run = general(single, x_in, x_in, levels)
    next(run)
    with pytest.raises(ConfigError, match="one time only"):
        next(run)


@pytest.mark.parametrize("clamp", Clamp)
def test_the_clamp_is_the_predictions(clamp: Clamp) -> None:
    model, network = denoiser(ResidualNoise(), clamp=clamp)
    x_t, x_in, level = 9 * draw(0), draw(1), model.schedule(5)
    estimate = model(x_t, level, x_in)
    expected = model.prediction.estimate(level, x_t, x_in, network(network.shown, network.told), clamp)
    for name in ("x0", "residual", "noise"):
        assert torch.equal(getattr(estimate, name), getattr(expected, name))
    assert (estimate.x0.abs().max() <= 1) == (clamp is not Clamp.NONE)


def test_weights_are_the_networks_alone() -> None:
    """A schedule leaves nothing in the state: a checkpoint holds weights only."""
    model = Denoiser(nn.Conv2d(6, 3, 1), RDDM(), Residual())
    assert set(model.state_dict()) == {"backbone.weight", "backbone.bias"}


# --- masks, self-conditioning, the posterior's loss ---


def test_masks_are_shown_as_each_paper_does() -> None:
    mask = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    encoded = {name: form.encode(mask) for name, form in MASK_FORMS.items()}
    assert all(encoded[name].shape[1] == form.channels for name, form in MASK_FORMS.items())
    assert encoded["signed"].flatten().tolist() == [-1, 0, 1]
    assert encoded["rgb"][0, :, 0].tolist() == [[0, 0.5, 1]] * 3
    assert encoded["one-hot"][0, :, 0].tolist() == [[1, 1, -1], [-1, -1, 1]]


def test_self_conditioning_shows_the_last_x0_and_zeros_at_first() -> None:
    model, network = denoiser(Residual(), self_condition=True)
    x_in, levels = draw(1), model.schedule.levels(3)
    first, second = model.estimator(), model.estimator()
    shown = []
    for state in general(first, draw(0), x_in, levels):
        shown.append(network.shown[:, :3])
        last = state.estimate.x0
    assert torch.equal(shown[0], torch.zeros(SHAPE))
    assert network.shown.shape[1] == 9
    first(draw(0), levels[0], x_in, None)
    assert torch.equal(network.shown[:, :3], last)
    second(draw(0), levels[0], x_in, None)
    assert torch.equal(network.shown[:, :3], torch.zeros(SHAPE)), "each run remembers for itself"


def test_training_looks_back_at_an_estimate_without_gradient() -> None:
    model, network = denoiser(Residual(), self_condition=True)
    x0, x_in, noise, t = draw(0), draw(1), draw(2), torch.tensor([3, 40])
    model.loss(x0, x_in, t, noise=noise)
    assert torch.equal(network.shown[:, :3], torch.zeros(SHAPE))
    model.loss(x0, x_in, t, noise=noise, looks_back=True)
    level = model.schedule(t)
    expected = model(level.mix(x0, x_in - x0, noise), level, x_in).x0
    model.loss(x0, x_in, t, noise=noise, looks_back=True)
    assert torch.equal(network.shown[:, :3], expected) and not network.shown.requires_grad


def test_the_posterior_loss_is_the_gap_of_the_published_means() -> None:
    """RDDM: mean = c1 I_t + c2 res + c3 x0 with c1 = bbar_s^2 / bbar_t^2 and so on (1A-8); I_0 alone at t = 0."""
    model, _ = denoiser(ResidualNoise())
    x0, x_in, noise = draw(0), draw(1), draw(2)
    table = model.schedule.table
    for t in (1, 20, 49):
        times = torch.tensor([t, t])
        level = model.schedule(times)
        x_t = level.mix(x0, x_in - x0, noise)
        estimate = model(x_t, level, x_in)
        (r_s, n_s), (r, n) = (table[k, 1:3].tolist() for k in (t - 1, t))
        variance = n**2 - n_s**2
        c2, c3 = (variance * r_s - n_s**2 * (r - r_s)) / n**2, variance / n**2
        gap = c2 * (estimate.residual - (x_in - x0)) + c3 * (estimate.x0 - x0)
        plain = model.loss(x0, x_in, times, noise=noise)
        total = model.loss(x0, x_in, times, noise=noise, posterior_weight=100.0)
        assert float(total - plain) == pytest.approx(100 * float(gap.abs().mean()), rel=2e-3)
    start = torch.tensor([0, 0])
    level = model.schedule(start)
    gap = model(level.mix(x0, x_in - x0, noise), level, x_in).x0 - x0
    total = model.loss(x0, x_in, start, noise=noise, posterior_weight=100.0)
    plain = model.loss(x0, x_in, start, noise=noise)
    assert float(total - plain) == pytest.approx(100 * float(gap.abs().mean()), rel=2e-3)


@pytest.mark.parametrize("schedule", [RDDM(length=30), Resfusion(length=30)], ids=lambda schedule: schedule.kind)
def test_the_posterior_weights_are_the_ancestral_step(schedule: Schedule) -> None:
    x0, x_in, noise = (draw(k).double() for k in range(3))
    levels = schedule.levels()
    for t, s in zip(levels[:-2], levels[1:-1], strict=True):
        x_t = t.mix(x0, x_in - x0, noise)
        weights = schedule.posterior_weights[t.t].tolist()
        mean = x_t + weights[0] * x0 + weights[1] * (x_in - x0) + weights[2] * noise
        moved = step(x_t, Estimate(x0, x_in - x0, noise), t, s, 1.0, lambda: torch.zeros(SHAPE))
        torch.testing.assert_close(moved, mean)


@pytest.mark.parametrize(
    ("drive", "alone"), [("residual", Residual()), ("noise", Noise()), ("both", None)], ids=lambda value: str(value)
)
def test_a_trained_head_may_drive_alone(drive: str, alone: Prediction | None) -> None:
    """SM-Res and SM-N of a network of two heads are those of its one head; SM-Res-N is both."""
    outputs, level = (draw(3), draw(4)), RDDM(length=50)(20)
    found = ResidualNoise(drive=drive).estimate(level, draw(0), draw(1), outputs)  # type: ignore[arg-type]
    if alone is None:
        assert torch.equal(found.residual, outputs[0]) and torch.equal(found.noise, outputs[1])
    else:
        head = outputs[0] if drive == "residual" else outputs[1]
        expected = alone.estimate(level, draw(0), draw(1), (head,))
        assert all(torch.equal(getattr(found, part), getattr(expected, part)) for part in ("x0", "residual", "noise"))


def test_the_x0_head_may_drive_alone() -> None:
    outputs, level = (draw(3), draw(4)), RDDM(length=50)(20)
    found = X0Noise(drive="x0").estimate(level, draw(0), draw(1), outputs)
    expected = X0().estimate(level, draw(0), draw(1), outputs[:1])
    assert torch.equal(found.x0, outputs[0]) and torch.equal(found.noise, expected.noise)
