"""`Restorer`: the kind of picture that goes in comes out, of any size and depth, the same for the same seed."""

import hashlib
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import residiff
from residiff import models
from residiff.checkpoint import ModelFile, load_model
from residiff.data import images
from residiff.data.images import Picture, from_array
from residiff.errors import ConfigError, ModelFileError, ResourceError
from residiff.restore import (
    Descriptor,
    Job,
    Options,
    Restorer,
    There,
    descriptors,
    load,
    pick_device,
    plan,
    restore_all,
    restore_file,
    restorer,
)
from residiff.restore.planes import pad_to_multiple

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
SIZES = [
    (1, 1), (2, 3), (3, 2), (4, 4), (1, 2000), (2000, 1), (2, 1999), (97, 101),
    *((1, n) for n in range(2, 27)), *((n, 1) for n in range(2, 27)),
    *product(PRIMES, PRIMES[:-1]),
]  # fmt: skip
MODES = {"L": (), "RGB": (3,), "RGBA": (4,)}


def grey(shape=(6, 7), seed=0):
    return Picture(torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed)))


def colours(shape=(6, 7), seed=0):
    return Picture(torch.rand((3, *shape), generator=torch.Generator().manual_seed(seed)))


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


# ---------------------------------------------------------------- sizes and kinds


@pytest.mark.parametrize("start", range(4))
def test_the_result_has_exactly_the_inputs_size(tiny, start, draw):
    assert len(SIZES) >= 190
    for index, (height, width) in list(enumerate(SIZES))[start::4]:
        mode = list(MODES)[index // 4 % 3]
        image = Image.fromarray(draw((height, width, *MODES[mode]), seed=index))
        result = tiny(image, steps=1)
        assert (result.size, result.mode) == ((width, height), mode)


@pytest.mark.parametrize(("height", "width"), [(5, 6), (1, 1), (7, 4), (2, 9)])
def test_a_size_that_does_not_fit_is_mirrored_on_and_cropped_back_where_it_was(tiny, height, width):
    picture = colours((height, width))
    whole = tiny.restore(Picture(pad_to_multiple(picture.pixels, tiny.descriptor.size_multiple)))
    assert torch.equal(tiny.restore(picture).pixels, whole.pixels[:, :height, :width])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0, 3), (0, 0, 3)])
def test_no_pixels_are_refused(tiny, shape):
    with pytest.raises(ConfigError):
        tiny(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_a_pillow_image_stays_one_of_its_mode(tiny, mode, draw):
    dtype = np.uint16 if mode == "I;16" else np.uint8
    channels = {"LA": (2,), "RGB": (3,), "RGBA": (4,)}.get(mode, ())
    image = Image.fromarray(draw((5, 8, *channels), dtype))
    assert image.mode == mode
    result = tiny(image)
    assert (result.mode, result.size) == (mode, (8, 5))
    assert not np.array_equal(np.asarray(result), np.asarray(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(5, 8), (5, 8, 1), (5, 8, 2), (5, 8, 3), (5, 8, 4)])
def test_an_array_stays_one_of_its_shape_and_type(tiny, dtype, shape, draw):
    array = draw(shape, dtype)
    before = array.copy()
    result = tiny(array)
    assert type(result) is np.ndarray and (result.shape, result.dtype) == (array.shape, array.dtype)
    assert not np.array_equal(result, array)
    np.testing.assert_array_equal(array, before)
    assert result.flags.writeable


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_tensor_stays_one_of_its_shape_and_type(tiny, dtype, channels):
    tensor = torch.rand(channels, 5, 8, dtype=dtype, requires_grad=True)
    result = tiny(tensor)
    assert (result.shape, result.dtype) == (tensor.shape, tensor.dtype)
    assert not torch.equal(result, tensor) and not result.requires_grad
    result += 1  # no tensor of inference mode: one may go on computing with it


def test_kinds_agree(tiny, draw):
    array = draw((6, 9, 3))
    result = tiny(array)
    np.testing.assert_array_equal(np.asarray(tiny(Image.fromarray(array))), result)
    tensor = tiny(torch.from_numpy(array).permute(2, 0, 1) / 255)
    np.testing.assert_array_equal(np.floor(tensor.permute(1, 2, 0).numpy() * 255 + 0.5), result)


@pytest.mark.parametrize(
    "image",
    ["a.png", None, Path("a.png"), torch.zeros(5, 5), torch.zeros(3, 5, 5, dtype=torch.uint8), torch.ones(5, 4, 4),
     torch.full((3, 4, 4), 2.0), np.zeros((2, 2, 2, 2), np.uint8), np.zeros((4, 4, 3), np.int32),
     np.full((4, 4), np.nan, np.float32), torch.full((3, 4, 4), torch.nan)],
)  # fmt: skip
def test_other_things_are_refused(tiny, image):
    with pytest.raises(ConfigError):
        tiny(image)


def test_grey_stays_grey_and_is_seen_as_colours_that_are_equal(tiny):
    picture = grey()
    result = tiny.restore(picture)
    as_colours = tiny.restore(Picture(picture.pixels.expand(3, -1, -1)))
    assert result.pixels.shape == picture.pixels.shape
    torch.testing.assert_close(result.pixels, as_colours.pixels.mean(0, keepdim=True), atol=0, rtol=0)


# ---------------------------------------------------------------- depth, alpha, orientation


def test_sixteen_bits_pass_exactly_at_strength_0(tiny):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    colours = np.stack([every, every.T, every[::-1]], axis=2)
    for array in (every, colours):
        np.testing.assert_array_equal(tiny(array, strength=0.0, steps=1), array)


def test_sixteen_bits_are_not_cut_to_eight(tiny, draw):
    result = tiny(draw((32, 32, 3), np.uint16), steps=1)
    inner = result[(result > 0) & (result < 65535)]
    assert len(inner) > 500 and np.mean(inner % 257 == 0) < 0.1


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_go_through_files(tiny, tmp_path, suffix, draw):
    picture = from_array(draw((8, 9, 4), np.uint16))
    source, kept, made = (tmp_path / (name + suffix) for name in ("in", "kept", "made"))
    images.write(source, picture)
    restore_file(Job(source, kept), tiny, Options(strength=0.0))
    restore_file(Job(source, made), tiny, Options())
    np.testing.assert_array_equal(images.to_array(images.read(kept)), images.to_array(picture))
    assert images.read(made).bit_depth == 16
    np.testing.assert_array_equal(images.to_array(images.read(made)), images.to_array(tiny.restore(picture)))


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_exact_and_hidden_colours_are_not_seen(tiny, dtype, start, draw):
    for seed in range(start, 25, 5):
        height, width = 3 + seed, 40 - seed
        image = draw((height, width, 4), dtype, seed)
        image[..., 3][draw((height, width), seed=seed + 99) < 128] = 0
        other = draw(image.shape, dtype, seed + 1000)
        other[..., 3] = image[..., 3]
        visible = image[..., 3] > 0
        other[visible] = image[visible]
        result, from_other = tiny(image, steps=1), tiny(other, steps=1)
        np.testing.assert_array_equal(result[..., 3], image[..., 3])
        np.testing.assert_array_equal(result[visible], from_other[visible])
        assert not np.array_equal(result[visible], image[visible])
        np.testing.assert_array_equal(result[~visible], image[~visible])


def test_a_picture_that_is_all_hidden_passes(tiny, draw):
    image = draw((7, 9, 4))
    image[..., 3] = 0
    np.testing.assert_array_equal(tiny(image), image)


@pytest.mark.parametrize("format", ["jpeg", "webp", "png", "tiff"])
def test_orientation_end_to_end(tiny, tmp_path, format, draw):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{format}"
        extra = {"lossless": True} if format == "webp" else {}
        Image.fromarray(draw((6, 10, 3), seed=orientation)).save(path, exif=exif, **extra)
        upright = ImageOps.exif_transpose(opened(path)).convert("RGB")
        kept, made = tmp_path / f"kept{orientation}.png", tmp_path / f"made{orientation}.png"
        restore_file(Job(path, kept), tiny, Options(strength=0.0, steps=1))
        restore_file(Job(path, made), tiny, Options(steps=1))
        assert opened(kept).getexif().get(0x0112, 1) == 1
        difference = np.asarray(opened(kept)).astype(int) - np.asarray(upright)
        assert abs(difference).max() <= (1 if format == "jpeg" else 0)  # two decoders of JPEG may round apart
        expected = tiny(opened(kept), steps=1)
        np.testing.assert_array_equal(np.asarray(opened(made)), np.asarray(expected))


# ---------------------------------------------------------------- arguments


def test_strength_blends(tiny):
    image = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    whole = tiny(image)
    assert torch.equal(tiny(image, strength=0.0), image)
    for strength in (0.25, 0.7):
        torch.testing.assert_close(tiny(image, strength=strength), image + strength * (whole - image))


@pytest.mark.parametrize(
    "arguments",
    [{"steps": 0}, {"steps": -1}, {"steps": 1001}, {"strength": -0.1}, {"strength": 1.1}, {"strength": float("nan")},
     {"seed": -1}, {"seed": 2**63}],
)  # fmt: skip
def test_arguments_out_of_range_are_named_with_what_is_allowed(tiny, arguments, draw):
    (name, value), = arguments.items()  # fmt: skip
    with pytest.raises(ConfigError, match=f"{name} is {value}; allowed are"):
        tiny(draw((4, 4, 3)), **arguments)


def test_the_last_step_is_allowed(tiny):
    assert tiny.descriptor.max_steps == 1000
    states = tiny.states(grey(), steps=1000, seed=2**63 - 1)
    assert torch.isfinite(next(states).x).all()


def test_a_mask_is_needed_by_one_and_refused_by_the_other(tiny, masked, draw):
    image, mask = draw((5, 7, 3)), draw((5, 7), seed=1)
    with pytest.raises(ConfigError, match="needs a mask"):
        masked(image)
    with pytest.raises(ConfigError, match="takes no mask"):
        tiny(image, mask)
    with pytest.raises(ConfigError, match="the mask is 5 x 7, the image 7 x 5"):
        masked(image, mask.T)
    assert not np.array_equal(masked(image, mask), masked(image, 255 - mask))
    np.testing.assert_array_equal(masked(image, mask), masked(image, np.stack([mask] * 3, axis=2)))


@pytest.mark.parametrize("name", ["nope", "", "cuda:x", "meta", "mkldnn", "cpu:x"])
def test_a_device_that_is_not_there_is_named(tiny_file, name):
    with pytest.raises(ConfigError, match=f"device '{name}' .* auto"):
        load(tiny_file, name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(tiny_file):
    with pytest.raises(ConfigError, match="device 'cuda' cannot be used here"):
        load(tiny_file, "cuda")


def test_auto_is_a_device():
    assert pick_device("auto").type in ("cuda", "mps", "cpu")
    assert pick_device("cpu") == torch.device("cpu")


CHANGES = [
    "sampling.eta=1.0",
    "sampling.sampler=multistep",
    "sampling.sampler=heun",
    "sampling.grid=quadratic",
    "sampling.times=[[999, 700, 300, 100]]",
]


@pytest.mark.parametrize("changed", CHANGES)
def test_the_recipes_sampling_is_what_runs(untrained, changed):
    image, plain = torch.full((3, 8, 8), 0.5), "sampling.eta=0.0"
    one, other = (Restorer(untrained(*settings))(image, steps=4) for settings in ((plain,), (plain, changed)))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("sampler", ["general", "multistep", "heun"])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_steps_are_network_calls_whatever_the_sampler(untrained, sampler, noise):
    settings = ["schedule.length=6", f"schedule.total_noise={noise}", "sampling.eta=0.0", f"sampling.sampler={sampler}"]
    restorer, image = Restorer(untrained(*settings)), torch.full((3, 8, 8), 0.5)
    calls = []
    restorer.denoiser.backbone.register_forward_hook(lambda *_: calls.append(1))
    for steps in range(1, 7):
        calls.clear()
        assert torch.isfinite(restorer(image, steps=steps)).all()
        assert len(calls) == steps
    for steps in (-1, 0, 7):
        with pytest.raises(ConfigError, match=f"steps is {steps}; allowed are 1 to 6"):
            restorer(image, steps=steps)


def test_a_deterministic_sampler_refuses_fresh_noise(untrained):
    with pytest.raises(ConfigError, match="multistep is deterministic"):
        untrained("sampling.sampler=multistep", "sampling.eta=1.0")


# ---------------------------------------------------------------- determinism


def test_twenty_runs_are_one(tiny, draw):
    image = draw((24, 31, 3), np.uint16)
    first = tiny(image, seed=3)
    torch.manual_seed(0)
    for _ in range(19):
        torch.rand(7)  # what others draw has no part in it
        np.testing.assert_array_equal(tiny(image, seed=3), first)


def test_the_seed_matters_and_the_global_one_stays(tiny, draw):
    image = draw((8, 8, 3))
    state = torch.random.get_rng_state()
    assert not np.array_equal(tiny(image, seed=0), tiny(image, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_new_processes_give_the_same_bytes(tiny, tiny_file, picture_file, tmp_path, program):
    source = picture_file("in/a.png", (19, 23, 3))
    restore_file(Job(source, tmp_path / "here.png"), tiny, Options(seed=5))
    runs = [
        program("restore", source, "-o", tmp_path / f"{n}.png", "-m", tiny_file, "--seed", 5, "--device", "cpu")
        for n in range(2)
    ]
    for number, run in enumerate(runs):
        assert run.communicate()[1] == b"1 restored, 0 failed\n" and run.returncode == 0
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_order_folder_and_resume_change_nothing(tiny, picture_file, tmp_path):
    shapes = [(9, 11, 3), (9, 11), (4, 30, 4), (9, 11, 3)]
    sources = [picture_file(f"in/{n}.png", shape, seed=n) for n, shape in enumerate(shapes)]
    alone = {}
    for source in sources:
        restore_file(Job(source, tmp_path / "alone.png"), tiny, Options(seed=2))
        alone[source.name] = hashlib.sha256((tmp_path / "alone.png").read_bytes()).hexdigest()
    for out, given in {"folder": [tmp_path / "in"], "back": sources[::-1], "resumed": sources}.items():
        jobs = plan(given, tmp_path / out, Options(seed=2))
        if out == "resumed":
            restore_file(jobs[1], tiny, Options(seed=2))
        outcomes = list(restore_all(jobs, tiny, Options(seed=2), there=There.RESUME))
        assert [outcome.error for outcome in outcomes] == [None] * 4
        made = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / out).iterdir()}
        assert made == alone


# ---------------------------------------------------------------- states


def test_states_come_one_by_one_when_asked_for(tiny, monkeypatch):
    calls = []
    network = tiny.denoiser.forward
    monkeypatch.setattr(tiny.denoiser, "forward", lambda *inputs: calls.append(1) or network(*inputs))
    states = tiny.states(grey((6, 7)), steps=5)
    assert not calls
    for number in range(1, 6):
        assert next(states).x.shape == (1, 3, 8, 8)
        assert len(calls) == number
    last = next(states)
    assert len(calls) == 5 and last.level.noise == 0
    with pytest.raises(StopIteration):
        next(states)


def test_states_check_their_arguments_at_once(tiny):
    with pytest.raises(ConfigError, match="steps"):
        tiny.states(grey(), steps=0)


def test_states_leave_the_caller_in_its_own_mode(tiny):
    one, other = tiny.states(grey()), tiny.states(grey())
    next(one)
    next(other)
    one.close()
    assert not torch.is_inference_mode_enabled()
    list(other)
    assert not torch.is_inference_mode_enabled()


# ---------------------------------------------------------------- what fails


def no_memory():
    torch.empty(2**55)


def raising(error):
    def fail(*_arguments, **_options):
        if callable(error) and not isinstance(error, type):
            error()
        raise error

    return fail


FULL = {"bytes": MemoryError(), "tensor": no_memory, "gpu": torch.OutOfMemoryError("CUDA out of memory")}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
@pytest.mark.parametrize("place", ["forward", "pad_to_multiple", "from_model"])
def test_no_memory_is_a_resource_error(tiny, monkeypatch, error, place, draw):
    monkeypatch.setattr(*((tiny.denoiser, place) if place == "forward" else (restorer, place)), raising(error))
    with pytest.raises(ResourceError, match="does not fit into memory"):
        tiny(draw((4, 4, 3)))


@pytest.mark.parametrize("place", ["read", "encode"])
def test_no_memory_for_a_file_is_a_resource_error(tiny, monkeypatch, picture_file, tmp_path, place):
    source = picture_file("a.png")
    monkeypatch.setattr(images, place, raising(MemoryError()))
    with pytest.raises(ResourceError, match="does not fit into memory"):
        restore_file(Job(source, tmp_path / "b.png"), tiny, Options())


def test_other_errors_are_not_mistaken_for_it(tiny, monkeypatch, draw):
    monkeypatch.setattr(tiny.denoiser, "forward", raising(RuntimeError("sizes do not match")))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        tiny(draw((4, 4, 3)))


def test_a_result_that_is_not_finite_is_no_success(draw, untrained):
    model = untrained()
    weights = {key: value * 1e30 for key, value in model.weights.items()}
    broken = Restorer(ModelFile(model.recipe, weights), "cpu")
    for image in (draw((4, 4, 3)), torch.zeros(3, 4, 4)):
        with pytest.raises(ModelFileError, match="'tiny' gave values that are not finite"):
            broken(image)


# ---------------------------------------------------------------- finding models


@pytest.fixture
def bundle(tiny_file, masked_file, monkeypatch):
    monkeypatch.setattr(models, "bundled", lambda: {"low-light": tiny_file, "shadow": masked_file})


def test_a_model_is_found_by_name_file_and_folder(bundle, tiny, tiny_file):
    for source in ("low-light", tiny_file, str(tiny_file), tiny_file.parent, str(tiny_file.parent)):
        assert residiff.load(source, "cpu").descriptor == tiny.descriptor


@pytest.mark.parametrize(("wrong", "right"), [("lowlight", "low-light"), ("shadows", "shadow"), ("Shadow", "shadow")])
def test_a_misspelt_model_is_answered_with_the_nearest(bundle, wrong, right):
    with pytest.raises(ModelFileError, match=f"no model '{wrong}'; did you mean '{right}'?"):
        load(wrong)


@pytest.mark.parametrize("wrong", ["zzz", "./zzz", "../zzz", "/zzz", "a/b/c", "zzz.safetensors", "runs/zzz.pt"])
def test_an_unknown_model_is_answered_with_all(bundle, wrong):
    with pytest.raises(ModelFileError, match="bundled are low-light, shadow; or give"):
        load(wrong)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        load(tmp_path)


def test_bundled_models_can_be_loaded():
    for descriptor in descriptors():
        assert descriptor.name in models.bundled()
        assert descriptor == load(descriptor.name, "cpu").descriptor


def test_a_descriptor_says_what_an_application_needs(tiny, tiny_file, masked):
    held = load_model(tiny_file)
    assert tiny.descriptor == Descriptor(
        name="tiny", task="denoise", summary=held.recipe.summary, channels=3, size_multiple=4, needs_mask=False,
        steps=2, max_steps=1000, parameters=sum(value.numel() for value in held.weights.values()),
        sha256=held.sha256, card={"data": "none"},
    )  # fmt: skip
    assert masked.descriptor.needs_mask and masked.descriptor.name == "masked"


def test_an_order_that_does_not_exist_is_refused_at_once(tiny, draw):
    picture = from_array(draw((8, 8, 3)))
    with pytest.raises(ConfigError, match="no order 'sideways'; there are simultaneous, residual-first"):
        tiny.states(picture, order="sideways")


@pytest.mark.parametrize(("side", "free", "reused"), [(520, 2**40, 1), (520, 10**6, 0), (256, 2**40, 0)])
def test_large_pictures_reuse_memory_where_there_is_room(tiny, monkeypatch, side, free, reused):
    entered = []
    monkeypatch.setattr("residiff.restore.restorer.available", lambda device: free)
    monkeypatch.setattr("residiff.restore.restorer.freed_is_reused", lambda: nullcontext(entered.append(1)))
    tiny.restore(Picture(torch.zeros(3, side, side)), steps=1, tile=0)
    assert len(entered) == reused
