"""`ResidualDiffusionPipeline`: a network and a scheduler that restore images, saved and loaded as diffusers does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from residiff import models
from residiff.checkpoint import ModelFile, load_model
from residiff.data.preprocess import PREPROCESS
from residiff.denoiser import MASK_FORMS, Denoiser, from_model, to_model
from residiff.errors import ConfigError, check_range
from residiff.interop.diffusers.building import network_of, scheduler_of
from residiff.interop.diffusers.images import OUTPUT_TYPES, Images, Results, batch_of
from residiff.interop.diffusers.network import Heads, ResidualDiffusionModel
from residiff.interop.diffusers.schedulers import Generators, ResidualScheduler, ResidualSchedulerOutput
from residiff.noise import NoiseSource, seeded_noise
from residiff.restore.planes import pad_to_multiple
from residiff.seeds import MAX_SEED

OnStepEnd = Callable[["ResidualDiffusionPipeline", int, int, dict[str, Tensor]], dict[str, Tensor]]


class _Inputs(NamedTuple):
    """x_in (N, 3, H, W) in [-1, 1] padded, the encoded mask or None, and (height, width) before the padding."""

    x_in: Tensor
    condition: Tensor | None
    size: tuple[int, int]


class ResidualDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Restores images: `Restorer`, for those whose program speaks diffusers.

    With the same seed it gives the same picture as `residiff.load` does. It holds a whole picture in memory and leaves
    tiles, alpha, bit depth and metadata to `Restorer`.

    Parameters
    ----------
    network, scheduler : its parts
    default_steps : how many steps where a call asks for none
    shows_input : whether the network is shown x_in beside x_t
    self_condition : whether it is shown its own last x_0
    mask_form : how it is shown a mask, a name of `residiff.denoiser.MASK_FORMS`; None where it takes none
    preprocess : what is done to an image first, a name of `residiff.data.preprocess.PREPROCESS`
    """

    model_cpu_offload_seq = "network"
    _callback_tensor_inputs = ["latents", "estimate"]

    def __init__(
        self,
        network: ResidualDiffusionModel,
        scheduler: ResidualScheduler,
        default_steps: int = 5,
        shows_input: bool = True,
        self_condition: bool = False,
        mask_form: str | None = None,
        preprocess: str = "none",
    ) -> None:
        super().__init__()
        if mask_form is not None and mask_form not in MASK_FORMS:
            raise ConfigError(f"mask_form is {mask_form!r}; allowed are {', '.join(MASK_FORMS)}, or None")
        if preprocess not in PREPROCESS:
            raise ConfigError(f"preprocess is {preprocess!r}; allowed are {', '.join(PREPROCESS)}")
        self.register_modules(network=network, scheduler=scheduler)
        self.register_to_config(
            default_steps=default_steps,
            shows_input=shows_input,
            self_condition=self_condition,
            mask_form=mask_form,
            preprocess=preprocess,
        )
        self._interrupt = False

    @classmethod
    def from_model(cls, model: str | Path | ModelFile) -> Self:
        """The pipeline of a model of residiff's: a bundled name, a file, a folder, a hub id, or what a file held.

        Raises
        ------
        ConfigError
            If its schedule or its way of sampling has no scheduler here.
        ModelFileError
            If there is no such model, or its file is damaged.
        """
        held = model if isinstance(model, ModelFile) else load_model(models.find(model))
        network = held.recipe.network
        return cls(
            network_of(held),
            scheduler_of(held.recipe),
            held.recipe.sampling.steps,
            network.shows_input,
            network.self_condition,
            network.mask_form if network.mask else None,
            network.preprocess,
        )

    @property
    def interrupt(self) -> bool:
        """Whether a callback has set `_interrupt`, as diffusers' pipelines are stopped."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        image: Images,
        mask: Images | None = None,
        num_inference_steps: int | None = None,
        generator: Generators = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        seed: int = 0,
    ) -> ImagePipelineOutput | tuple[Results]:
        """Restore images of one size.

        Parameters
        ----------
        image : one or several, PIL images, arrays (H, W, C) or tensors (C, H, W) in [0, 1], or a batch of these
        mask : where to work, white being yes, one for all or one each; needed by some models, refused by the others
        num_inference_steps : 1 to T; the model's own number if None
        generator : of the noise; one for all images or one each. Without one the noise is that of `seed`
        latents : the noise to start from, N(0, 1), (N, 3, H, W) padded to the network's size multiple
        output_type : "pil", "np" (N, H, W, 3) or "pt" (N, 3, H, W), both in [0, 1]
        return_dict : whether an output with `images` is returned, or a tuple
        callback_on_step_end : called as (pipeline, step, timestep, tensors) after each step; what it returns stands
            for the tensors. It may set the pipeline's `_interrupt`, and the estimate so far is the result
        callback_on_step_end_tensor_inputs : which tensors it is given: "latents" (x_t), "estimate" (x_0)
        seed : of residiff's own noise, the same for every image

        Raises
        ------
        ConfigError
            If an argument is out of range, a mask is missing or not wanted, or sizes differ.
        """
        self._check_call(mask, output_type, callback_on_step_end_tensor_inputs, seed)
        given = self._inputs(image, mask)
        noise = self._noise(given.x_in, generator, seed)
        start = self._start_noise(given.x_in, latents, noise)
        steps = self.config.default_steps if num_inference_steps is None else num_inference_steps
        self.scheduler.set_timesteps(steps, device=given.x_in.device)
        told = _Told(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        result = self._sampled(given, start, noise, told)
        height, width = given.size
        images = OUTPUT_TYPES[output_type](from_model(result.float())[..., :height, :width].cpu())
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _sampled(self, given: _Inputs, start: Tensor, noise: NoiseSource, told: _Told) -> Tensor:
        """x_0 (N, 3, H, W) in [-1, 1]."""
        self._interrupt = False
        denoiser = self._denoiser()
        x: Tensor = self.scheduler.start(given.x_in, start)
        previous: Tensor | None = None
        with self.progress_bar(total=len(self.scheduler.timesteps)) as bar:
            for number, t in enumerate(self.scheduler.timesteps.tolist()):
                level = self.scheduler.level(t)
                outputs = denoiser.outputs(x, level, given.x_in, given.condition, previous)
                found: ResidualSchedulerOutput = self.scheduler.step(
                    torch.cat(outputs, dim=1), t, x, given.x_in, noise=noise
                )
                previous = found.pred_original_sample
                x, previous = told(number, t, found.prev_sample, previous)
                bar.update()
                if self._interrupt:
                    return previous
        return x

    def _denoiser(self) -> Denoiser:
        scheduler, config = self.scheduler, self.config
        return Denoiser(
            Heads(self.network),
            scheduler.schedule,
            scheduler.prediction,
            time_input=scheduler.time_input,
            shows_input=config.shows_input,
            clamp=scheduler.clamp,
            self_condition=config.self_condition,
        )

    def _check_call(self, mask: Images | None, output_type: str, tensors: Sequence[str], seed: int) -> None:
        check_range("seed", seed, 0, MAX_SEED)
        if output_type not in OUTPUT_TYPES:
            raise ConfigError(f"output_type is {output_type!r}; allowed are {', '.join(OUTPUT_TYPES)}")
        if unknown := set(tensors) - set(self._callback_tensor_inputs):
            allowed = ", ".join(self._callback_tensor_inputs)
            raise ConfigError(f"callback_on_step_end_tensor_inputs has {sorted(unknown)}; allowed are {allowed}")
        if self.config.mask_form is not None and mask is None:
            raise ConfigError("this model needs a mask (white where to work); give one as mask")
        if self.config.mask_form is None and mask is not None:
            raise ConfigError("this model takes no mask; leave it out")

    def _inputs(self, image: Images, mask: Images | None) -> _Inputs:
        pixels = batch_of(image)
        prepared = torch.stack([PREPROCESS[self.config.preprocess](each) for each in pixels])
        x_in = self._placed(to_model(self._padded(prepared)))
        return _Inputs(x_in, self._condition(pixels, mask), (pixels.shape[2], pixels.shape[3]))

    def _condition(self, pixels: Tensor, mask: Images | None) -> Tensor | None:
        if mask is None:
            return None
        matte = batch_of(mask).mean(1, keepdim=True)
        (height, width), (rows, columns) = pixels.shape[2:], matte.shape[2:]
        if (height, width) != (rows, columns):
            raise ConfigError(f"the mask is {columns} x {rows}, the image {width} x {height}; make them equal")
        if len(matte) not in (1, len(pixels)):
            raise ConfigError(f"there are {len(matte)} masks for {len(pixels)} images; give one, or one each")
        encoded = MASK_FORMS[self.config.mask_form].encode(self._padded(matte))
        return self._placed(encoded.expand(len(pixels), -1, -1, -1))

    def _padded(self, batch: Tensor) -> Tensor:
        return pad_to_multiple(batch, self.network.size_multiple)

    def _placed(self, batch: Tensor) -> Tensor:
        return batch.to(self._execution_device, self.network.dtype)

    def _noise(self, like: Tensor, generator: Generators, seed: int) -> NoiseSource:
        if isinstance(generator, list) and len(generator) != len(like):
            raise ConfigError(f"there are {len(generator)} generators for {len(like)} images; give one, or one each")
        if generator is not None:
            return lambda: randn_tensor(like.shape, generator=generator, device=like.device, dtype=like.dtype)
        source = seeded_noise(seed, like.shape, like.device)
        return lambda: source().to(like.dtype)

    def _start_noise(self, like: Tensor, latents: Tensor | None, noise: NoiseSource) -> Tensor:
        if latents is None:
            return noise()
        if latents.shape != like.shape:
            raise ConfigError(f"latents are {tuple(latents.shape)}; needed are {tuple(like.shape)}")
        return latents.to(like.device, like.dtype)


class _Told:
    """Tells a callback of each step, and takes what it gives back."""

    def __init__(self, pipeline: ResidualDiffusionPipeline, call: OnStepEnd | None, tensors: Sequence[str]) -> None:
        self.pipeline, self.call, self.tensors = pipeline, call, tensors

    def __call__(self, number: int, timestep: int, latents: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
        """(x_t, x_0) to go on with."""
        if self.call is None:
            return latents, estimate
        held: dict[str, Any] = {"latents": latents, "estimate": estimate}
        given = {name: held[name] for name in self.tensors}
        held |= self.call(self.pipeline, number, timestep, given)
        return held["latents"], held["estimate"]
