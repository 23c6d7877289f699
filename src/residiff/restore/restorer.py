"""`Restorer`: one model, ready to restore pictures. The command line, Python and every server call this alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from residiff import models
from residiff.checkpoint import Card, ModelFile, load_model
from residiff.data.images import Picture, from_array, from_pil, to_array, to_pil
from residiff.data.preprocess import PREPROCESS
from residiff.denoiser import MASK_FORMS, from_model, to_model
from residiff.errors import ConfigError, ModelFileError, check_range, memory_errors
from residiff.inference import check_order, sampled
from residiff.recipe import Recipe, override
from residiff.restore.planes import fill_hidden, pad_to_multiple
from residiff.sample import NoiseSource, State, seeded_noise

Array = npt.NDArray[np.generic]
AnyImage = TypeVar("AnyImage", Image.Image, Array, Tensor)

DEVICES = ("cpu", "cuda", "mps", "xpu")
MAX_SEED = 2**63 - 1
TOO_LARGE = "the picture does not fit into memory; restore it in parts or at a smaller size"


@dataclass(frozen=True)
class Descriptor:
    """What an application needs to know of a model before it uses it.

    `size_multiple` is what the network works in (any size is padded to it and cropped back), `channels` what it takes
    (grey pictures are turned into three and back), `steps` its own number of steps, `max_steps` the most it can take.
    """

    name: str
    task: str
    summary: str
    channels: int
    size_multiple: int
    needs_mask: bool
    steps: int
    max_steps: int
    parameters: int
    sha256: str
    card: Card


class Restorer:
    """A model that restores pictures.

    Parameters
    ----------
    model : what the file held
    device : "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest there is
    """

    def __init__(self, model: ModelFile, device: str = "cpu") -> None:
        self.recipe = model.recipe
        self.device = pick_device(device)
        self.denoiser = model.denoiser().to(self.device)
        backbone = self.denoiser.backbone
        self.descriptor = Descriptor(
            name=model.recipe.name,
            task=model.recipe.task,
            summary=model.recipe.summary,
            channels=3,
            size_multiple=int(backbone.size_multiple),  # type: ignore[arg-type]
            needs_mask=model.recipe.network.mask,
            steps=model.recipe.sampling.steps,
            max_steps=len(model.recipe.schedule),
            parameters=sum(parameter.numel() for parameter in backbone.parameters()),
            sha256=model.sha256,
            card=model.card,
        )

    def __call__(
        self,
        image: AnyImage,
        mask: AnyImage | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
    ) -> AnyImage:
        """Restore a picture: PIL image, array (H, W[, C]) or tensor (C, H, W) in, the same kind, size and type out.

        Arrays are uint8, uint16 or float in [0, 1]; tensors float in [0, 1]. Alpha stays as it is.

        Parameters
        ----------
        image : the degraded picture
        mask : where to work, of the same size, white being yes; needed by some models, refused by the others
        steps : how many, 1 to T; the recipe's own number if None
        seed : of the noise; the same one gives the same result
        strength : 0 gives the input, 1 the result, between them a blend

        Raises
        ------
        ConfigError
            If an argument is out of range, the mask is missing, or its size differs.
        ResourceError
            If the picture does not fit into memory.
        ModelFileError
            If the result is not finite.
        """
        matte = None if mask is None else _to_picture(mask)
        return _like(image, self.restore(_to_picture(image), matte, steps=steps, seed=seed, strength=strength))

    def restore(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
    ) -> Picture:
        """As calling the restorer, picture to picture: size, bit depth, alpha and metadata stay."""
        check_range("strength", strength, 0, 1)
        with memory_errors(TOO_LARGE):
            # The others are let go
            (last,) = deque(self.states(picture, mask, steps=steps, seed=seed), maxlen=1)
            return self.picture_of(last.x, picture, strength)

    def picture_of(self, x: Tensor, picture: Picture, strength: float = 1.0) -> Picture:
        """The picture that `x` of a state (1, 3, H, W) shows: cropped to `picture`, with its alpha and metadata.

        Raises
        ------
        ModelFileError
            If a value is not finite.
        """
        return replace(picture, pixels=self._pixels(picture, x[0], strength))

    def _pixels(self, picture: Picture, x: Tensor, strength: float) -> Tensor:
        height, width = picture.pixels.shape[1:]
        # Before the clamp, which would make white of infinity
        if not torch.isfinite(x).all():
            name = self.descriptor.name
            raise ModelFileError(f"model {name!r} gave values that are not finite; take another model, or more steps")
        result = from_model(x[:, :height, :width]).cpu()
        if picture.pixels.shape[0] == 1:
            result = result.mean(0, keepdim=True)
        result = torch.lerp(picture.pixels, result, strength)
        return result if picture.alpha is None else torch.where(picture.alpha > 0, result, picture.pixels)

    def states(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        order: str | None = None,
    ) -> Iterator[State]:
        """The sampling run behind `restore`, padded, in [-1, 1]: for progress, preview and trajectory.

        `order` of `sample.ORDERS` stands for the recipe's. Yields a state for each move, and the last one, each
        computed when it is asked for; arguments are checked, as by `restore`, at once.
        """
        self.check(steps=steps, seed=seed, masked=mask is not None)
        check_order(order)
        with memory_errors(TOO_LARGE):
            x_in = self._input(picture)
            noise = seeded_noise(seed, x_in.shape, self.device)
            return self.sample(x_in, noise, steps, self._condition(picture, mask), order)

    def check(self, *, steps: int | None, seed: int, masked: bool) -> None:
        """Raise `ConfigError` unless the model can run so; `masked` says whether a mask is given."""
        name = self.descriptor.name
        check_range("steps", self.descriptor.steps if steps is None else steps, 1, self.descriptor.max_steps)
        check_range("seed", seed, 0, MAX_SEED)
        if self.descriptor.needs_mask and not masked:
            raise ConfigError(f"model {name!r} needs a mask (white where to work); give one with --mask")
        if masked and not self.descriptor.needs_mask:
            raise ConfigError(f"model {name!r} takes no mask; leave it out")

    # As a decorator: a `with` in a generator would leave the caller in this mode at each yield
    @torch.inference_mode()
    def sample(
        self,
        x_in: Tensor,
        noise: NoiseSource,
        steps: int | None = None,
        condition: Tensor | None = None,
        order: str | None = None,
    ) -> Iterator[State]:
        """Sample from `x_in` (N, 3, H, W) in [-1, 1], H and W multiples of the size multiple, as the recipe says.

        `condition` is the encoded mask, (N, K, H, W). Yields a state for each move, and the last one.
        """
        with memory_errors(TOO_LARGE):
            yield from sampled(self.denoiser, self.recipe, x_in, noise, steps=steps, condition=condition, order=order)

    def _input(self, picture: Picture) -> Tensor:
        pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
        pixels = PREPROCESS[self.recipe.network.preprocess](pixels)
        padded = pad_to_multiple(pixels.expand(3, -1, -1), self.descriptor.size_multiple)
        return to_model(padded)[None].to(self.device)

    def _condition(self, picture: Picture, mask: Picture | None) -> Tensor | None:
        if mask is None:
            return None
        (height, width), (rows, columns) = picture.pixels.shape[1:], mask.pixels.shape[1:]
        if (height, width) != (rows, columns):
            raise ConfigError(f"the mask is {columns} x {rows}, the image {width} x {height}; make them equal")
        matte = pad_to_multiple(mask.pixels.mean(0, keepdim=True), self.descriptor.size_multiple)
        return MASK_FORMS[self.recipe.network.mask_form].encode(matte[None]).to(self.device)


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA, then MPS, then the CPU. `ConfigError` if there is no such device."""
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    # torch has more, some of which compute nothing
    if name.partition(":")[0] not in DEVICES:
        raise ConfigError(f"device {name!r} is not known; allowed are auto, {', '.join(DEVICES)}, cuda:1 and so on")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({cause}); take auto or cpu") from error


def load(source: str | Path, device: str = "auto", settings: Sequence[str] = ()) -> Restorer:
    """A restorer of the model `source`: a bundled name, a model file, a folder, or a hub id.

    `settings` such as "sampling.order=residual-first" or "prediction.drive=residual" stand in place of the recipe's.

    Raises
    ------
    ModelFileError
        If there is no such model, its file is damaged, or its weights do not fit the settings.
    ConfigError
        If a setting does not exist or cannot be so.
    """
    model = load_model(models.find(source))
    if settings:
        model = replace(model, recipe=_resettled(model.recipe, list(settings)))
    return Restorer(model, device)


def _resettled(recipe: Recipe, settings: list[str]) -> Recipe:
    changed = override(recipe, settings)
    if changed.prediction.kind != recipe.prediction.kind:
        trained = recipe.prediction.kind
        raise ConfigError(f"the model was trained to predict {trained!r}, not {changed.prediction.kind!r}; leave it so")
    return changed


def descriptors() -> list[Descriptor]:
    """Of every bundled model."""
    return [Restorer(load_model(path)).descriptor for path in models.bundled().values()]


def _to_picture(image: Image.Image | Array | Tensor) -> Picture:
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    if not isinstance(image, Tensor):
        kind = type(image).__name__
        raise ConfigError(f"cannot restore a {kind}; give a PIL image, an array (H, W, C) or a tensor (C, H, W)")
    if image.dim() != 3 or not image.is_floating_point():
        raise ConfigError(f"the tensor is {tuple(image.shape)} {image.dtype}; needed is (C, H, W) float in [0, 1]")
    return from_array(image.detach().float().cpu().permute(1, 2, 0).numpy())


def _like(image: AnyImage, result: Picture) -> AnyImage:
    """`result` as the kind of image that `image` is."""
    if isinstance(image, Image.Image):
        return to_pil(result)
    planes = torch.stack(result.planes)
    if isinstance(image, Tensor):
        return planes.to(image.device, image.dtype)
    array = planes.permute(1, 2, 0).numpy() if np.issubdtype(image.dtype, np.floating) else to_array(result)
    return array.reshape(image.shape).astype(image.dtype)
