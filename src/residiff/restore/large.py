"""Pictures of any size restored in strips of tiles, from rows that are read to rows that can be written.

The rows are read up to three times: twice to find out what the network and its preprocessing take of the whole, and to
be sampled. At no time is more than a few strips in memory.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from operator import attrgetter

import torch
from torch import Tensor

from residiff.data.preprocess import BY_HISTOGRAM
from residiff.denoiser import MASK_FORMS, Denoiser, from_model, to_model
from residiff.errors import ModelFileError
from residiff.inference import sampled
from residiff.nn import Whole, localised, sees_the_whole
from residiff.noise import NoiseField, NoiseSource
from residiff.prediction import Estimator
from residiff.recipe import Recipe
from residiff.restore.answers import Draw
from residiff.restore.keeping import Keeping, Known
from residiff.restore.looking import Part, find_wholes, gather, parts_of, survey
from residiff.restore.sources import Opener, Raw
from residiff.restore.strips import Rows, StripSampler
from residiff.restore.tiling import Span, Tiling

Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LargePicture:
    """A picture about to be restored in strips.

    Parameters
    ----------
    denoiser, recipe : of the model
    tiling : of the picture, padded to the multiple that the network works in
    opener : opens it and its mask, to be read from top to bottom
    draw : of the noise
    steps : of sampling; the recipe's own number if None
    device : of the network
    together : how many parts of 192 x 192 pixels are looked at together, as the memory allows
    keep : whether pixels stay as they are where the mask is black
    """

    denoiser: Denoiser
    recipe: Recipe
    tiling: Tiling
    opener: Opener
    draw: Draw = Draw()
    steps: int | None = None
    device: torch.device = torch.device("cpu")
    together: int = 4
    keep: bool = False

    @torch.inference_mode()
    def rows(self) -> Iterator[tuple[Span, Tensor]]:
        """Rows of the picture, from top to bottom, and what they became: (3, n, W) in [0, 1].

        Raises
        ------
        ModelFileError
            If a value is not finite.
        ResourceError
            If not even small tiles fit into memory.
        """
        whole = sees_the_whole(self.denoiser.backbone)
        denoiser = self.denoiser
        if whole:
            denoiser = denoiser.with_backbone(localised(denoiser.backbone))
        prepare, wholes = self._look(denoiser, whole)
        with self.opener() as sources:
            strips = StripSampler(
                denoiser,
                self.tiling,
                lambda span: self._shown(span, sources.rows(span), prepare),
                self._sample,
                wholes,
                device=self.device,
            )
            kept = partial(self._kept, sources.picture.height, sources.picture.width)
            # None is held here while the next ones are computed
            yield from starmap(kept, strips)

    def _kept(self, height: int, width: int, span: Span, x: Tensor) -> tuple[Span, Tensor]:
        """What of a strip lies within the picture, in [0, 1]."""
        kept = Span(span.start, min(span.stop, height))
        return kept, self._result(x[0, :, : kept.size, :width])

    def _result(self, x: Tensor) -> Tensor:
        # Before the clamp, which would make white of infinity
        if not torch.isfinite(x).all():
            name = self.recipe.name
            raise ModelFileError(f"model {name!r} gave values that are not finite; take another model, or more steps")
        return from_model(x)

    def _look(self, denoiser: Denoiser, whole: bool) -> tuple[Prepare, list[Whole]]:
        """How the picture is prepared for the network, and what the network takes of the whole at each of its calls."""
        by = BY_HISTOGRAM.get(self.recipe.network.preprocess)
        if by is None and not whole:
            return _as_it_is, []
        surveyed = survey(self.opener, self.tiling)
        prepare = _as_it_is if by is None else by(surveyed.counts)
        if not whole:
            return prepare, []
        parts = parts_of(self.tiling, surveyed.light)
        raws = gather(self.opener, self.tiling, parts)

        def sample(ask: Estimator, these: Sequence[Part], raws: Sequence[Raw]) -> None:
            self._run(ask, self._together(raws, prepare), self._noise_of(these))

        return prepare, find_wholes(denoiser.estimator(), sample, raws, parts, self.tiling, self.together)

    def _together(self, raws: Sequence[Raw], prepare: Prepare) -> Rows:
        """Parts as a batch."""
        shown = [self._shown(Span(0, raw.pixels.shape[1]), raw, prepare) for raw in raws]
        masks = [each.condition for each in shown if each.condition is not None]
        x_in = torch.cat([each.x_in for each in shown]).to(self.device)
        kept = [each.known for each in shown if each.known is not None]
        known = Known(*(torch.cat(parts).to(self.device) for parts in zip(*kept, strict=True))) if kept else None
        return Rows(shown[0].span, x_in, torch.cat(masks).to(self.device) if masks else None, known)

    def _shown(self, span: Span, raw: Raw, prepare: Prepare) -> Rows:
        form = MASK_FORMS[self.recipe.network.mask_form]
        is_shown = raw.mask is not None and self.recipe.network.mask
        condition = form.encode(raw.mask[None]) if is_shown and raw.mask is not None else None
        return Rows(span, to_model(prepare(raw.pixels))[None], condition, self._known(raw))

    def _known(self, raw: Raw) -> Known | None:
        return Known(to_model(raw.pixels)[None], raw.mask[None]) if self.keep and raw.mask is not None else None

    def _sample(self, ask: Estimator, strip: Rows) -> Tensor:
        numbers = itertools.count()
        return self._run(ask, strip, lambda: self._field.rows(next(numbers), *strip.span)[None])

    def _run(self, ask: Estimator, shown: Rows, noise: NoiseSource) -> Tensor:
        steps, condition, asked = self.steps, shown.condition, _Answering(ask)
        by = asked if shown.known is None else Keeping(asked, shown.known)
        states = sampled(by, self.recipe, shown.x_in, noise, steps=steps, condition=condition)
        # Estimates on the way are let go: each is as large as the strip, three times over
        x: Tensor = deque(map(attrgetter("x"), states), maxlen=1).pop()
        return x

    def _noise_of(self, parts: Sequence[Part]) -> NoiseSource:
        """The noise of the picture where the parts are."""
        numbers = itertools.count()

        def draw() -> Tensor:
            number = next(numbers)
            rows = [(self._field.rows(number, *part.rows), part.columns) for part in parts]
            return torch.stack([each[:, :, slice(*columns)] for each, columns in rows]).to(self.device)

        return draw

    @property
    def _field(self) -> NoiseField:
        return NoiseField(self.draw.seed, 3, self.tiling.height, self.tiling.width, negative=self.draw.negative)


def _as_it_is(rows: Tensor) -> Tensor:
    return rows


@dataclass(frozen=True)
class _Answering:
    """Stands for a denoiser in a sampling run: its calls are answered elsewhere."""

    ask: Estimator

    def estimator(self) -> Estimator:
        return self.ask
