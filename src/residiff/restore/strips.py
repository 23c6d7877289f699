"""Pictures of any size, sampled in strips: all steps of a strip are made once its neighbours have come as far.

Tiles are not restored one by one and glued: at each step the network's outputs for a strip are blended from its tiles
and its neighbours', and the sampler takes the step with them. So strip k may go on to call j + 1 of the network once
strips k - 1, k and k + 1 have been seen at call j, and of a picture there is never more in memory than a few strips for
each call:

    call 2   #
    call 1   # # #
    call 0   # # # # #      strips in memory, from the first that is not done

Samplers are written for whole pictures. Each strip runs one of them in a thread of its own, which waits when it calls
the network; the threads take turns, so that nothing runs side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from residiff.denoiser import Denoiser
from residiff.errors import ResourceError, is_out_of_memory
from residiff.memory import give_back
from residiff.nn import Whole, given_whole
from residiff.prediction import Estimate, Estimator, Outputs
from residiff.restore.keeping import Known
from residiff.restore.tiling import Span, Tiling
from residiff.schedule import Level


@dataclass(frozen=True)
class Rows:
    """The rows of a strip: x_in (1, 3, n, W) in the model's range, encoded mask (1, K, n, W) or None, what stays."""

    span: Span
    x_in: Tensor
    condition: Tensor | None
    known: Known | None = None


# Samples a strip, asking what stands for the network: gives x_0 (1, 3, n, W)
Sample = Callable[[Estimator, Rows], Tensor]


class _Cancelled(BaseException):
    """Ends the thread of a strip that nobody waits for any more."""


@final
class _Strip:
    """A strip that is being sampled: its thread, what it has asked, and what has been gathered for the answer.

    `call` is the number of the call of the network that it waits for, `seen` how many its own tiles have been computed
    at.
    """

    def __init__(self, rows: Rows, sample: Sample) -> None:
        self.rows = rows
        self.call, self.seen = -1, 0
        self.x_t: Tensor | None = None
        self.level: Level | None = None
        self.previous: Tensor | None = None
        self.outputs: Outputs = ()
        self.result: Tensor | None = None
        self._sample = sample
        self._answer: Estimate | None = None
        self._error: BaseException | None = None
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self._turn.acquire()
        try:
            with torch.inference_mode():
                self.result = self._sample(self._ask, self.rows)
        except _Cancelled:
            pass
        # Raised again in the thread that waits for this one
        except BaseException as error:
            self._error = error
        self.x_t = None
        self._back.release()

    def _ask(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        self.x_t, self.level = x_t, level
        self._back.release()
        self._turn.acquire()
        if self._answer is None:
            raise _Cancelled
        answer, self._answer = self._answer, None
        return answer

    def advance(self, answer: Estimate | None = None) -> None:
        """Let the sampler go on, with the answer to what it asked, until it asks again or is done."""
        self._answer, self.outputs = answer, ()
        self.call += 1
        self._turn.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def restored(self) -> Tensor:
        """What the sampler has given."""
        if self.result is None:
            raise RuntimeError("a strip was taken that is not done")
        return self.result

    def cancel(self) -> None:
        """End the thread."""
        if self.result is None and self._error is None:
            self._turn.release()
        self._thread.join()


@dataclass
class StripSampler:
    """Samples a picture in strips, from top to bottom.

    Parameters
    ----------
    denoiser : whose network, if it sees whole images, is a localised one (`nn.local`)
    tiling : of the picture
    rows : gives the rows of a strip; asked for each once, in order
    sample : samples a strip
    wholes : what the network takes of the whole image at each of its calls; empty where it takes nothing
    smallest : side of the smallest core that a tile is halved to where memory runs out
    device : on which the network is; strips are in the processor's memory
    """

    denoiser: Denoiser
    tiling: Tiling
    rows: Callable[[Span], Rows]
    sample: Sample
    wholes: list[Whole] = field(default_factory=list)
    smallest: int = 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __iter__(self) -> Iterator[tuple[Span, Tensor]]:
        """Each strip's rows and x_0 (1, 3, n, W), in order; none is held here once it is given."""
        spans, live, done = self.tiling.strips, dict[int, _Strip](), 0
        begun = 0
        try:
            while done < len(spans):
                # Strips that begin and end in threads of their own leave holes, in all a multiple of what is held
                give_back()
                if not self._go_on(live, len(spans)):
                    live[begun] = _Strip(self.rows(spans[begun]), self.sample)
                    live[begun].advance()
                    begun += 1
                while done in live and live[done].result is not None:
                    # Not held while the next ones are computed
                    yield spans[done], live.pop(done).restored()
                    done += 1
        finally:
            for strip in live.values():
                strip.cancel()

    def _go_on(self, live: dict[int, _Strip], count: int) -> bool:
        """Compute the tiles of one strip, or let one make its step; False where more strips are needed for either."""
        for index, strip in live.items():
            around = [live.get(place) for place in (index - 1, index + 1) if 0 <= place < count]
            below = index + 1 < count
            if strip.result is not None or (below and index + 1 not in live):
                continue
            neighbours = [each for each in around if each is not None]
            if strip.seen == strip.call and all(each.call == strip.call for each in neighbours):
                self._compute(index, live)
                return True
            if strip.seen > strip.call and all(each.seen > strip.call for each in neighbours):
                estimate = self._estimate(strip)
                strip.previous = estimate.x0 if self.denoiser.self_condition else None
                strip.advance(estimate)
                return True
        return False

    def _estimate(self, strip: _Strip) -> Estimate:
        x_t, level = _asked(strip)
        denoiser = self.denoiser
        return denoiser.prediction.estimate(level, x_t, strip.rows.x_in, strip.outputs, denoiser.clamp)

    def _compute(self, index: int, live: dict[int, _Strip]) -> None:
        """Compute the tiles of a strip, and add what they give to its outputs and its neighbours'."""
        near = [live[place] for place in (index - 1, index, index + 1) if place in live]
        strip = live[index]
        for column in self.tiling.columns:
            used = self._used(strip.rows.span, column)
            outputs = self._outputs(near, strip, _Area(strip.rows.span, column), used)
            weights = self._weights(strip.rows.span, column)
            for other in near:
                _add(other, used, [each * weights for each in outputs])
        strip.seen += 1

    def _used(self, rows: Span, columns: Span) -> _Area:
        """What of a tile is blended."""
        tiling = self.tiling
        return _Area(rows.widened(tiling.overlap, tiling.height), columns.widened(tiling.overlap, tiling.width))

    def _weights(self, rows: Span, columns: Span) -> Tensor:
        tiling = self.tiling
        return tiling.weights(rows, tiling.height)[:, None] * tiling.weights(columns, tiling.width)

    def _outputs(self, near: list[_Strip], strip: _Strip, core: _Area, used: _Area) -> Outputs:
        """The network's outputs over `used`; where memory runs out, of halves side by side."""
        try:
            return self._run(near, strip, core, used)
        except (MemoryError, RuntimeError) as error:
            middle = core.columns.middle(self.tiling.multiple)
            if not is_out_of_memory(error):
                raise
            if min(middle - core.columns.start, core.columns.stop - middle) < self.smallest:
                side = core.columns.size
                raise ResourceError(
                    f"memory runs out with tiles of {side} pixels; close other programs, or take a smaller --tile"
                ) from error
        left, right = Span(core.columns.start, middle), Span(middle, core.columns.stop)
        halves = [
            self._outputs(near, strip, _Area(core.rows, left), _Area(used.rows, Span(used.columns.start, middle))),
            self._outputs(near, strip, _Area(core.rows, right), _Area(used.rows, Span(middle, used.columns.stop))),
        ]
        return tuple(torch.cat(parts, dim=-1) for parts in zip(*halves, strict=True))

    def _run(self, near: list[_Strip], strip: _Strip, core: _Area, used: _Area) -> Outputs:
        tiling = self.tiling
        seen = _Area(core.rows.widened(tiling.halo, tiling.height), core.columns.widened(tiling.halo, tiling.width))
        x_t, level = _asked(strip)
        masks = [each.rows.condition for each in near]
        with given_whole(self.wholes[strip.call]) if self.wholes else nullcontext():
            outputs = self.denoiser.outputs(
                _cut(near, [each.x_t for each in near], seen).to(self.device),
                level,
                _cut(near, [each.rows.x_in for each in near], seen).to(self.device),
                None if strip.rows.condition is None else _cut(near, masks, seen).to(self.device),
                None if strip.previous is None else _cut(near, [each.previous for each in near], seen).to(self.device),
            )
        rows, columns = used.rows.within(seen.rows), used.columns.within(seen.columns)
        return tuple(each[..., rows, columns].cpu() for each in outputs)


@dataclass(frozen=True)
class _Area:
    rows: Span
    columns: Span


def _asked(strip: _Strip) -> tuple[Tensor, Level]:
    if strip.x_t is None or strip.level is None:
        raise RuntimeError("a strip was computed that had asked for nothing")
    return strip.x_t, strip.level


def _cut(strips: list[_Strip], tensors: Sequence[Tensor | None], area: _Area) -> Tensor:
    """What an area shows of tensors (1, C, n, W) that lie below one another, each as high as its strip."""
    columns, parts = slice(area.columns.start, area.columns.stop), []
    for strip, tensor in zip(strips, tensors, strict=True):
        shared = area.rows.shared(strip.rows.span)
        if shared is not None and tensor is not None:
            parts.append(tensor[..., shared.within(strip.rows.span), columns])
    return torch.cat(parts, dim=-2)


def _add(strip: _Strip, used: _Area, outputs: list[Tensor]) -> None:
    """Add the part of a tile that lies in a strip to the strip's outputs."""
    shared = used.rows.shared(strip.rows.span)
    if shared is None:
        return
    if not strip.outputs:
        strip.outputs = tuple(torch.zeros_like(strip.rows.x_in[:, :3]) for _ in outputs)
    columns = slice(used.columns.start, used.columns.stop)
    for total, part in zip(strip.outputs, outputs, strict=True):
        total[..., shared.within(strip.rows.span), columns] += part[..., shared.within(used.rows), :]
