"""`Restorer`: one model, ready to restore pictures. The command line, Python and every server call this alone."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from residiff.checkpoint import Card, ModelFile
from residiff.curve import Curve, machine
from residiff.data.images import Picture
from residiff.data.preprocess import PREPROCESS
from residiff.denoiser import MASK_FORMS, from_model, to_model
from residiff.errors import ConfigError, ModelFileError, check_range
from residiff.inference import check_order, sampled
from residiff.memory import available, freed_is_reused
from residiff.noise import NoiseSource, seeded_noise
from residiff.restore.answers import Answers, Draw, Gathered, draws
from residiff.restore.budget import Budget
from residiff.restore.calibration import prepared
from residiff.restore.devices import pick_device
from residiff.restore.keeping import Keeping, Known
from residiff.restore.kinds import AnyImage, like, to_picture
from residiff.restore.large import LargePicture
from residiff.restore.looking import parts_together
from residiff.restore.memory import memory_errors
from residiff.restore.options import Tile
from residiff.restore.planes import blended, fill_hidden, pad_to_multiple
from residiff.restore.sources import Held, Opener, Sources
from residiff.restore.tile_size import SMALL, bytes_per_pixel, tiling_for
from residiff.restore.tiling import Tiling
from residiff.sample import State
from residiff.seeds import MAX_SEED


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
    backend : what runs the network, a name of `residiff.backends.Backend`; "eager" is always the same
    calibration : pictures that "openvino-int8" finds its ranges on; procedural ones where there are none
    budget : seconds that a picture may take: where no number of steps is asked for, as many are taken as pay and fit
    """

    def __init__(
        self,
        model: ModelFile,
        device: str = "cpu",
        backend: str = "eager",
        calibration: Sequence[Picture] = (),
        *,
        budget: float | None = None,
    ) -> None:
        self.recipe = model.recipe
        self.device, self.backend = pick_device(device), backend
        denoiser = model.denoiser().to(self.device)
        backbone = denoiser.backbone
        self.denoiser = prepared(denoiser, model.recipe, backend, calibration)
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
        self.budget = None if budget is None else self._budgeted(budget)

    def __call__(
        self,
        image: AnyImage,
        mask: AnyImage | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        tile: Tile = "auto",
        keep: bool = False,
    ) -> AnyImage:
        """Restore a picture: PIL image, array (H, W[, C]) or tensor (C, H, W) in, the same kind, size and type out.

        Arrays are uint8, uint16 or float in [0, 1]; tensors float in [0, 1]. Alpha stays as it is.

        Parameters
        ----------
        image : the degraded picture
        mask : where to work, of the same size, white being yes; needed by some models, refused by the others
        steps : how many, 1 to T; if None what the budget allows, or the recipe's own number
        seed : of the noise; the same one gives the same result
        strength : 0 gives the input, 1 the result, between them a blend
        tile : side of the tiles that a picture is restored in; "auto" where it would not fit into memory, 0 never
        keep : whether pixels stay as they are where the mask is black, at every step; any model may have a mask then

        Raises
        ------
        ConfigError
            If an argument is out of range, the mask is missing, or its size differs.
        ResourceError
            If the picture does not fit into memory.
        ModelFileError
            If the result is not finite.
        """
        matte = None if mask is None else to_picture(mask)
        result = self.restore(to_picture(image), matte, steps=steps, seed=seed, strength=strength, tile=tile, keep=keep)
        return like(image, result)

    def restore(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        tile: Tile = "auto",
        keep: bool = False,
    ) -> Picture:
        """As calling the restorer, picture to picture: size, bit depth, alpha and metadata stay."""
        check_range("strength", strength, 0, 1)
        self.check(steps=steps, seed=seed, masked=mask is not None, keep=keep)
        result = self._restored(picture, mask, steps, Draw(seed), tile, keep)
        return replace(picture, pixels=self._blended(picture, result, strength))

    def answers(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        count: int,
        antithetic: bool = False,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        tile: Tile = "auto",
        keep: bool = False,
    ) -> Answers:
        """Restore a picture `count` times, each with noise of its own: what the results have in common.

        Sample i has the noise of `seed` + i; antithetic ones come in pairs, with the noise of `seed` + i // 2 and its
        negative. The rest as calling the restorer.
        """
        check_range("strength", strength, 0, 1)
        gathered, steps = Gathered(), self.steps_for(count * picture.pixels[0].numel()) if steps is None else steps
        for draw in draws(seed, count, antithetic):
            self.check(steps=steps, seed=draw.seed, masked=mask is not None, keep=keep)
            result = self._restored(picture, mask, steps, draw, tile, keep)
            gathered.add(replace(picture, pixels=self._blended(picture, result, strength)))
        return gathered.answers()

    def _restored(
        self, picture: Picture, mask: Picture | None, steps: int | None, draw: Draw, tile: Tile, keep: bool
    ) -> Tensor:
        """(3, H, W) in [0, 1]."""
        self._check_mask(picture, mask)
        tiling = self.tiling(picture.pixels.shape[1], picture.pixels.shape[2], tile)
        with memory_errors():
            if tiling is None:
                # The others are let go
                (last,) = deque(self._states(picture, mask, steps, draw, None, keep), maxlen=1)
                return self._cropped(picture, last.x[0])
            pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
            held = Sources(Held(pixels), None if mask is None else Held(mask.pixels), self.descriptor.size_multiple)
            steps = self.steps_for(picture.pixels[0].numel()) if steps is None else steps
            large = self.large(tiling, lambda: nullcontext(held), steps=steps, keep=keep)
            return torch.cat([part for _, part in replace(large, draw=draw).rows()], dim=1)

    def restore_together(
        self,
        pictures: Sequence[Picture],
        masks: Sequence[Picture] | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        keep: bool = False,
    ) -> list[Picture]:
        """As `restore`, pictures that are of one size when padded, in common calls of the network.

        Each has the noise that it has alone; what comes out differs by rounding, at most one grey level of 255.
        """
        self.check(steps=steps, seed=seed, masked=masks is not None, keep=keep)
        check_range("strength", strength, 0, 1)
        with memory_errors():
            x_in = torch.cat([self._input(picture) for picture in pictures])
            mattes = [] if masks is None else [self._mask(*pair) for pair in zip(pictures, masks, strict=True)]
            known = torch.cat([self._known(picture) for picture in pictures]) if keep else None
            noise = seeded_noise(seed, x_in.shape, self.device)
            matte = torch.cat(mattes) if mattes else None
            steps = self.steps_for(pictures[0].pixels[0].numel()) if steps is None else steps
            states = self.sample(x_in, noise, steps, self._encoded(matte), None, self._keeping(known, matte))
            (last,) = deque(states, maxlen=1)
            results = zip(pictures, last.x, strict=True)
            return [self._picture(picture, x, strength) for picture, x in results]

    def tiling(self, height: int, width: int, tile: Tile = "auto") -> Tiling | None:
        """How a picture of that size is cut into tiles; None where it is not."""
        size, multiple = (height, width), self.descriptor.size_multiple
        return tiling_for(self.recipe, multiple, size, tile, lambda: self._pixel_bytes, lambda: available(self.device))

    @cached_property
    def _pixel_bytes(self) -> float:
        return bytes_per_pixel(self.recipe)

    def large(
        self,
        tiling: Tiling,
        opener: Opener,
        *,
        steps: int | None = None,
        seed: int = 0,
        keep: bool = False,
    ) -> LargePicture:
        """A picture that is read and restored a few rows at a time."""
        together, draw = parts_together(self._pixel_bytes), Draw(seed)
        return LargePicture(self.denoiser, self.recipe, tiling, opener, draw, steps, self.device, together, keep)

    def picture_of(self, x: Tensor, picture: Picture, strength: float = 1.0) -> Picture:
        """The picture that `x` of a state (1, 3, H, W) shows: cropped to `picture`, with its alpha and metadata.

        Raises
        ------
        ModelFileError
            If a value is not finite.
        """
        return self._picture(picture, x[0], strength)

    def _picture(self, picture: Picture, x: Tensor, strength: float) -> Picture:
        return replace(picture, pixels=self._blended(picture, self._cropped(picture, x), strength))

    def _cropped(self, picture: Picture, x: Tensor) -> Tensor:
        height, width = picture.pixels.shape[1:]
        # Before the clamp, which would make white of infinity
        if not torch.isfinite(x).all():
            name = self.descriptor.name
            raise ModelFileError(f"model {name!r} gave values that are not finite; take another model, or more steps")
        return from_model(x[:, :height, :width]).cpu()

    def _blended(self, picture: Picture, result: Tensor, strength: float) -> Tensor:
        """(3, H, W) in [0, 1] as pixels like the picture's."""
        result = blended(picture.pixels, result, strength)
        return result if picture.alpha is None else torch.where(picture.alpha > 0, result, picture.pixels)

    def states(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        order: str | None = None,
        keep: bool = False,
    ) -> Iterator[State]:
        """The sampling run behind `restore`, padded, in [-1, 1]: for progress, preview and trajectory.

        `order` of `sample.ORDERS` stands for the recipe's. Yields a state for each move, and the last one, each
        computed when it is asked for; arguments are checked, as by `restore`, at once.
        """
        self.check(steps=steps, seed=seed, masked=mask is not None, keep=keep)
        check_order(order)
        with memory_errors():
            return self._states(picture, mask, steps, Draw(seed), order, keep)

    def _states(
        self, picture: Picture, mask: Picture | None, steps: int | None, draw: Draw, order: str | None, keep: bool
    ) -> Iterator[State]:
        x_in, matte = self._input(picture), None if mask is None else self._mask(picture, mask)
        steps = self.steps_for(picture.pixels[0].numel()) if steps is None else steps
        noise = seeded_noise(draw.seed, x_in.shape, self.device, negative=draw.negative)
        known = self._keeping(self._known(picture), matte) if keep else None
        return self.sample(x_in, noise, steps, self._encoded(matte), order, known)

    def check(self, *, steps: int | None, seed: int, masked: bool, keep: bool = False) -> None:
        """Raise `ConfigError` unless the model can run so; `masked` says whether a mask is given."""
        name = self.descriptor.name
        check_range("steps", self.descriptor.steps if steps is None else steps, 1, self.descriptor.max_steps)
        check_range("seed", seed, 0, MAX_SEED)
        if self.descriptor.needs_mask and not masked:
            raise ConfigError(f"model {name!r} needs a mask (white where to work); give one with --mask")
        if keep and not masked:
            raise ConfigError("what is kept is where a mask is black; give one with --mask, or leave --keep out")
        if masked and not (self.descriptor.needs_mask or keep):
            raise ConfigError(f"model {name!r} takes no mask; leave it out, or keep what is black in it with --keep")

    # As a decorator: a `with` in a generator would leave the caller in this mode at each yield
    @torch.inference_mode()
    def sample(
        self,
        x_in: Tensor,
        noise: NoiseSource,
        steps: int | None = None,
        condition: Tensor | None = None,
        order: str | None = None,
        known: Known | None = None,
    ) -> Iterator[State]:
        """Sample from `x_in` (N, 3, H, W) in [-1, 1], H and W multiples of the size multiple, as the recipe says.

        `condition` is the encoded mask, (N, K, H, W), `known` what is to stay. Yields a state a move, and the last.
        """
        asked = self.denoiser if known is None else Keeping(self.denoiser, known)
        with memory_errors(), self._reusing(x_in.numel() // x_in.shape[1]):
            yield from sampled(asked, self.recipe, x_in, noise, steps=steps, condition=condition, order=order)

    def _reusing(self, pixels: int) -> AbstractContextManager[None]:
        """Reuses freed memory where blocks of it are large, and the holes that it leaves have room."""
        if self.device.type != "cpu" or pixels <= SMALL:
            return nullcontext()
        return freed_is_reused() if 2 * pixels * self._pixel_bytes <= available(self.device) else nullcontext()

    def steps_for(self, pixels: int) -> int:
        """How many steps a picture of so many pixels is restored in where none are asked for: what the budget allows.

        Several samples of a picture count as so many times its pixels.
        """
        return self.descriptor.steps if self.budget is None else self.budget.tell(pixels)

    def _budgeted(self, seconds: float) -> Budget:
        curve = Curve.of_card(self.descriptor.card)
        here = curve is not None and curve.machine == machine(self.device)
        return Budget(seconds, curve, self.descriptor.steps, here=here, call=self._seconds_a_megapixel)

    def _seconds_a_megapixel(self, pixels: int) -> float:
        """What a network call takes, timed on a grey picture of about so many pixels, after one that is not."""
        multiple = self.descriptor.size_multiple
        side = multiple * math.ceil(math.sqrt(pixels) / multiple)
        x_in = torch.zeros((1, 3, side, side), device=self.device)
        mask = MASK_FORMS[self.recipe.network.mask_form].encode(x_in[:, :1]) if self.descriptor.needs_mask else None
        for _ in range(2):
            began = time.perf_counter()
            (end,) = deque(self.sample(x_in, lambda: x_in, 1, mask), maxlen=1)
            # Waits until it is there
            end.x[0, 0, 0, 0].item()
        return (time.perf_counter() - began) / (side * side / 1e6)

    def _input(self, picture: Picture) -> Tensor:
        pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
        pixels = PREPROCESS[self.recipe.network.preprocess](pixels)
        padded = pad_to_multiple(pixels.expand(3, -1, -1), self.descriptor.size_multiple)
        return to_model(padded)[None].to(self.device)

    def _known(self, picture: Picture) -> Tensor:
        """The picture as it is, padded, in [-1, 1]: the network may be shown one that was prepared."""
        padded = pad_to_multiple(picture.pixels.expand(3, -1, -1), self.descriptor.size_multiple)
        return to_model(padded)[None].to(self.device)

    def _check_mask(self, picture: Picture, mask: Picture | None) -> None:
        if mask is not None and mask.pixels.shape[1:] != picture.pixels.shape[1:]:
            (height, width), (rows, columns) = picture.pixels.shape[1:], mask.pixels.shape[1:]
            raise ConfigError(f"the mask is {columns} x {rows}, the image {width} x {height}; make them equal")

    def _mask(self, picture: Picture, mask: Picture) -> Tensor:
        """(1, 1, H, W) in [0, 1], padded."""
        self._check_mask(picture, mask)
        return pad_to_multiple(mask.pixels.mean(0, keepdim=True), self.descriptor.size_multiple)[None].to(self.device)

    def _encoded(self, matte: Tensor | None) -> Tensor | None:
        if matte is None or not self.descriptor.needs_mask:
            return None
        return MASK_FORMS[self.recipe.network.mask_form].encode(matte)

    def _keeping(self, known: Tensor | None, matte: Tensor | None) -> Known | None:
        return None if known is None or matte is None else Known(known, matte)
