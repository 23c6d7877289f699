"""diffusers' common checks of a scheduler, restated, and that each step is residiff's own algebra."""

import json

import pytest
import torch
from diffusers import DDIMScheduler

from residiff.errors import ConfigError
from residiff.interop.diffusers import RDDMScheduler, ResfusionScheduler
from residiff.prediction import Residual, ResidualNoise, ResNoise
from residiff.sample import general, step
from residiff.schedule import RDDM, Increments, Resfusion

KINDS = {
    "rddm": lambda: RDDMScheduler(total_noise=1.0),
    "rddm two heads": lambda: RDDMScheduler(num_train_timesteps=50, prediction_type="residual-noise", eta=0.5),
    "rddm by powers": lambda: RDDMScheduler(residual_shape="power", residual_exponent=2.0, clip_estimate="residual"),
    "resfusion": lambda: ResfusionScheduler(),
    "resfusion kept": lambda: ResfusionScheduler(
        num_train_timesteps=None, kept_timesteps=8, beta_schedule="squared-cosine", prediction_type="residual", eta=0.0
    ),
}
SHAPE = (2, 3, 8, 8)


@pytest.fixture(params=KINDS)
def scheduler(request):
    return KINDS[request.param]()


def drawn(*shape, seed=0):
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed))


def output(scheduler, seed=5):
    return drawn(2, 3 * scheduler.prediction.heads, 8, 8, seed=seed)


def test_saved_and_loaded_it_is_the_same(scheduler, tmp_path):
    scheduler.save_pretrained(tmp_path)
    again = type(scheduler).from_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == type(scheduler).__name__
    assert again.schedule == scheduler.schedule and again.prediction == scheduler.prediction
    made = []
    for one in (scheduler, again):
        one.set_timesteps(3)
        torch.manual_seed(0)
        made.append(one.step(output(one), one.timesteps[1], drawn(), drawn(seed=2)).prev_sample)
    torch.testing.assert_close(*made, rtol=0, atol=0)


def test_made_from_a_configuration_it_keeps_what_was_set(scheduler):
    again = type(scheduler).from_config(scheduler.config)
    assert dict(again.config) == dict(scheduler.config)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_times_fall_from_the_start_and_are_as_many_as_asked(scheduler, steps):
    assert len(scheduler.timesteps) == len(scheduler)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps
    assert times.dtype == torch.int64 and len(times) == steps == scheduler.num_inference_steps
    assert times[0] == len(scheduler) - 1 and (times.diff() < 0).all()


@pytest.mark.parametrize("return_dict", [True, False])
def test_a_step_keeps_the_shape_and_comes_as_an_output_or_a_tuple(scheduler, return_dict):
    scheduler.set_timesteps(3)
    found = scheduler.step(output(scheduler), scheduler.timesteps[0], drawn(), drawn(seed=1), return_dict=return_dict)
    assert isinstance(found, tuple) is not return_dict
    assert all(each.shape == SHAPE for each in (found if not return_dict else found.to_tuple()))
    assert len(found if not return_dict else found.to_tuple()) == 4


def test_the_same_generator_gives_the_same_step(scheduler):
    scheduler.set_timesteps(3)
    made = [
        scheduler.step(
            output(scheduler), scheduler.timesteps[0], drawn(), drawn(seed=1), torch.Generator().manual_seed(seed)
        ).prev_sample
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2]) is (scheduler.config.eta == 0)


def test_model_input_stays_as_it_is(scheduler):
    sample = drawn()
    assert scheduler.scale_model_input(sample, scheduler.timesteps[0]) is sample


def test_noise_is_added_as_the_marginal_says(scheduler):
    x0, noise, x_in = drawn(), drawn(seed=1), drawn(seed=2)
    times = torch.tensor([0, len(scheduler) - 1])
    found = scheduler.add_noise(x0, noise, times, x_in)
    for row, t in enumerate(times.tolist()):
        a, r, n, *_ = scheduler.schedule.table[t].tolist()
        expected = a * x0[row] + r * (x_in - x0)[row] + n * noise[row]
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-6)
    assert scheduler.add_noise(x0.half(), noise.half(), times, x_in.half()).dtype == torch.float16


def test_without_a_degraded_image_it_is_generation(scheduler):
    scheduler.set_timesteps(3)
    t, none = scheduler.timesteps[0], torch.zeros(SHAPE)
    generator = [torch.Generator().manual_seed(3) for _ in range(2)]
    here, there = (
        scheduler.step(output(scheduler), t, drawn(), x_in, one)
        for x_in, one in zip((None, none), generator, strict=True)
    )
    assert torch.equal(here.prev_sample, there.prev_sample)
    assert torch.equal(
        scheduler.add_noise(drawn(), drawn(seed=1), t[None]), scheduler.add_noise(drawn(), drawn(seed=1), t[None], none)
    )


def test_a_whole_walk_is_the_sampler(scheduler):
    """A network that answers at random, but always the same."""
    x_in, noise = drawn(seed=1), drawn(seed=2)
    scheduler.set_timesteps(4)
    levels = scheduler.sampling.visits(scheduler.schedule, 4)
    answers = {int(level.t): output(scheduler, seed=int(level.t)) for level in levels[:-1]}

    def denoiser(x, level, x_in, condition):
        outputs = answers[int(level.t)].chunk(scheduler.prediction.heads, 1)
        return scheduler.prediction.estimate(level, x, x_in, outputs, scheduler.clamp)

    def fresh():
        return drawn(seed=9)

    start = scheduler.schedule.start(x_in, noise)
    *_, last = general(denoiser, start, x_in, levels, eta=scheduler.config.eta, noise=fresh)
    x = scheduler.start(x_in, noise)
    for t in scheduler.timesteps:
        x = scheduler.step(answers[int(t)], t, x, x_in, noise=fresh).prev_sample
    torch.testing.assert_close(x, last.x, rtol=0, atol=0)


def test_the_configuration_is_the_schedule_it_names():
    made = RDDMScheduler(
        num_train_timesteps=20,
        residual_shape="power",
        residual_exponent=2.0,
        noise_shape="normal",
        total_noise=0.5,
        prediction_type="residual-noise",
        drive="noise",
        guard=1e-6,
    )
    assert made.schedule == RDDM(
        length=20, residual=Increments("power", 2.0), noise=Increments("normal"), total_noise=0.5
    )
    assert made.prediction == ResidualNoise(drive="noise", guard=1e-6)
    assert ResfusionScheduler().schedule == Resfusion(length=12) and ResfusionScheduler().prediction == ResNoise()
    assert (
        len(ResfusionScheduler(num_train_timesteps=None, kept_timesteps=7)) == 7
        and RDDMScheduler().prediction == Residual()
    )
    assert RDDMScheduler(total_noise=4.0).init_noise_sigma == pytest.approx(2.0)


def test_tuned_times_stand_for_the_grid():
    scheduler = RDDMScheduler(tuned_timesteps=[[999, 420], [999, 600, 200]])
    scheduler.set_timesteps(2)
    assert scheduler.timesteps.tolist() == [999, 420]
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]


def test_one_step_from_pure_noise_is_ddims_x0():
    """At the last level x_0 is what is returned; diffusers' DDIM with x_0 predicted says the same."""
    ours = RDDMScheduler(prediction_type="x0")
    ours.set_timesteps(1)
    theirs = DDIMScheduler(prediction_type="sample", clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(1)
    x0, x = drawn(), drawn(seed=1)
    expected = theirs.step(x0, theirs.timesteps[0], x).pred_original_sample
    torch.testing.assert_close(ours.step(x0, ours.timesteps[0], x, drawn(seed=2)).prev_sample, expected)


MISTAKES = {
    "shape": (lambda: RDDMScheduler(residual_shape="linear"), "shape .*'decreasing'"),
    "length": (lambda: RDDMScheduler(num_train_timesteps=0), "length is 0"),
    "prediction": (lambda: RDDMScheduler(prediction_type="epsilon"), "prediction_type: .*'residual'"),
    "clip": (lambda: RDDMScheduler(clip_estimate="all"), "clip_estimate: .*'none'"),
    "eta": (lambda: RDDMScheduler(eta=2.0), "eta .*less than or equal to 1"),
    "grid": (lambda: RDDMScheduler(timestep_spacing="trailing"), "grid .*'published'"),
    "step": (lambda: RDDMScheduler(step_kind="heun"), "step_kind is 'heun'; allowed are general, direct"),
    "time": (lambda: RDDMScheduler(time_input="sigma"), "time_input is 'sigma'; allowed are index, coefficient"),
    "betas": (lambda: ResfusionScheduler(beta_schedule="cosine"), "squared-cosine"),
    "two lengths": (lambda: ResfusionScheduler(kept_timesteps=5), "either length"),
    "steps": (lambda: RDDMScheduler().set_timesteps(1001), "steps is 1001; allowed are 1 to 1000"),
    "time that is not visited": (
        lambda: RDDMScheduler(num_train_timesteps=10).step(drawn(), 11, drawn()),
        "timestep 11 is not visited; give one of timesteps: 9, 8, 7",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    call, message = MISTAKES[name]
    with pytest.raises(ConfigError, match=message):
        call()


def test_the_step_is_not_another_one():
    """Broken once: a step that forgets the residual is found."""
    scheduler = RDDMScheduler()
    scheduler.set_timesteps(2)
    t, s = (scheduler.schedule(time) for time in scheduler.timesteps.tolist())
    x, x_in, residual = drawn(), drawn(seed=1), drawn(seed=2)
    found = scheduler.step(residual, scheduler.timesteps[0], x, x_in).prev_sample
    estimate = Residual().estimate(t, x, x_in, (residual,))
    assert torch.equal(found, step(x, estimate, t, s))
    assert not torch.allclose(found, x, atol=1e-3)
