"""A model scored on a set of pairs: restored and scored in one go, once for each seed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev

from residiff.data import images
from residiff.data.catalog import AUTO
from residiff.data.images import Picture
from residiff.data.parts import PictureSet
from residiff.data.settings import Resize
from residiff.data.transforms import resize
from residiff.errors import ConfigError, check_range
from residiff.evaluate.cost import count, held
from residiff.evaluate.pairing import Item, tested
from residiff.evaluate.protocols import DEFAULT, find_paired
from residiff.evaluate.results import Result, Score, inputs_of
from residiff.evaluate.scoring import Scan, Scored, Scorer, hashes_of, scan, scan_of
from residiff.restore import Restorer

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Drawn:
    """A picture of (height, width) restored from one seed in `seconds`, and its scores."""

    seed: int
    seconds: float
    size: tuple[int, int]
    scored: Scored


@dataclass(frozen=True)
class ModelEvaluation:
    """Pairs that are about to be restored and scored.

    Attributes
    ----------
    items : each with the degraded picture as what is predicted from
    steps : of sampling; the model's own number where None
    seeds : each restores all of them
    output : where results are written, in a folder for each seed; nowhere if None
    as_trained : whether degraded pictures are first resized as the model's recipe says of its training data
    """

    scorer: Scorer
    restorer: Restorer
    items: tuple[Item, ...]
    source: str
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    output: Path | None = None
    as_trained: bool = False

    @property
    def total(self) -> int:
        """How many pictures are restored."""
        return len(self.items) * len(self.seeds)

    def scores(self) -> Iterator[Drawn]:
        """Restore and score each picture from each seed."""
        for item in self.items:
            degraded = self._sized(item.predicted.read(), is_mask=False)
            truth = scan(item.truth) if item.truth is not None else None
            mask = None if item.mask is None else item.mask.read()
            for seed in self.seeds:
                yield self._drawn(item.name, degraded, truth, mask, seed)

    def _drawn(self, name: str, degraded: Picture, truth: Scan | None, mask: Picture | None, seed: int) -> Drawn:
        shown = None if mask is None or not self.restorer.descriptor.needs_mask else self._sized(mask, is_mask=True)
        began = time.perf_counter()
        restored = self.restorer.restore(degraded, shown, steps=self.steps, seed=seed)
        seconds = time.perf_counter() - began
        if self.output is not None:
            images.write(self.output / f"seed-{seed}" / f"{name}.png", restored)
        found = scan_of(restored, f"{name}, restored", self.scorer.protocol.saving)
        # A mask that the protocol has no use for has served the network alone
        matte = None if mask is None or not self.scorer.protocol.takes_mask else scan_of(mask, f"the mask of {name}")
        scans = {"predicted": found, "truth": truth, "mask": matte}
        hashes = {side: each.sha256 for side, each in scans.items() if each is not None}
        size = (degraded.pixels.shape[1], degraded.pixels.shape[2])
        return Drawn(seed, seconds, size, Scored(self.scorer.score(found, truth, matte, name), hashes))

    def _sized(self, picture: Picture, *, is_mask: bool) -> Picture:
        data = self.restorer.recipe.data
        if not self.as_trained or data.resize is Resize.NONE:
            return picture
        return replace(picture, pixels=resize(picture.pixels, data.resize, data.crop_size, is_mask=is_mask), alpha=None)

    def result(self, drawn: Iterable[Drawn], label: str = "") -> Result:
        """What came of it: of each picture the mean over the seeds; the means of each seed are among the facts."""
        by_seed: dict[int, list[Scored]] = {seed: [] for seed in self.seeds}
        seconds, size = [], (0, 0)
        for each in drawn:
            by_seed[each.seed].append(each.scored)
            seconds.append(each.seconds)
            size = max(size, each.size)
        first = by_seed[self.seeds[0]]
        masked = "mask" in first[0].hashes
        sides = ("predicted", *(("truth",) if self.scorer.protocol.truth else ()), *(("mask",) if masked else ()))
        return Result(
            self.scorer.protocol.name,
            self.scorer.protocol.version,
            tuple(_mean_over_seeds(scores) for scores in zip(*by_seed.values(), strict=True)),
            inputs={side: inputs_of(self.source, hashes_of(first, side)) for side in sides},
            label=label or self.restorer.descriptor.name,
            left_out=self.scorer.left_out,
            facts=self._facts(by_seed) | self._cost(seconds, size),
        )

    def _facts(self, by_seed: dict[int, list[Scored]]) -> dict[str, object]:
        means = {
            str(seed): Result("", 0, tuple(each.score for each in scored)).mean for seed, scored in by_seed.items()
        }
        model = self.restorer.descriptor
        facts: dict[str, object] = {
            "model": model.name,
            "model_sha256": model.sha256,
            "steps": self.steps or model.steps,
            "seeds": list(self.seeds),
            "means": means,
        }
        facts |= {"networks": dict(self.scorer.networks)} if self.scorer.networks else {}
        if len(means) > 1:
            rows = list(means.values())
            facts["spread"] = {name: stdev(row[name] for row in rows) for name in rows[0]}
        return facts

    def _cost(self, seconds: list[float], size: tuple[int, int]) -> dict[str, object]:
        """The median of the seconds a picture, the process's memory, and MACs of the largest picture of `size`."""
        counted, steps = count(self.restorer.recipe, *size), self.steps or self.restorer.descriptor.steps
        return {
            "device": str(self.restorer.device),
            "seconds": median(seconds),
            "peak_MiB": round(held("VmHWM") / 2**20),
            "parameters_M": counted.parameters / 1e6,
            "GMAC": counted.macs * steps / 1e9,
            "size": f"{size[1]}x{size[0]}",
        }


def open_model_evaluation(
    restorer: Restorer,
    data: Path,
    *,
    protocol: str = DEFAULT,
    layout: str = AUTO,
    seed: int = 0,
    repeats: int = 1,
    steps: int | None = None,
    weights: str | None = None,
    output: Path | None = None,
    as_trained: bool = False,
) -> ModelEvaluation:
    """Open a set of pairs, its test part, for a model; nothing is read yet.

    A folder of one's own without a test part, `clean/` and `degraded/` directly, is scored on all of it.

    Raises
    ------
    ConfigError
        If there is no such protocol, the set is not as its layout says or has no degraded pictures or masks where they
        are needed, or the model cannot run so.
    """
    chosen = find_paired(protocol)
    check_range("repeats", repeats, 1, MOST_SEEDS)
    if restorer.recipe.task == "generate":
        raise ConfigError(f"model {restorer.descriptor.name!r} makes pictures from noise; score a folder of them")
    pictures = tested(data, layout)
    items = _items(pictures, chosen.truth)
    if (chosen.needs_mask or restorer.descriptor.needs_mask) and items[0].mask is None:
        whose = restorer.descriptor.name if restorer.descriptor.needs_mask else chosen.name
        raise ConfigError(f"{whose} needs masks, and {pictures.source} has none; add them")
    for each in (seed, seed + repeats - 1):
        restorer.check(steps=steps, seed=each, masked=restorer.descriptor.needs_mask)
    seeds = tuple(range(seed, seed + repeats))
    return ModelEvaluation(
        Scorer.of(chosen, weights), restorer, items, pictures.source, seeds, steps, output, as_trained
    )


def _items(pictures: PictureSet, with_truth: bool) -> tuple[Item, ...]:
    columns = pictures.columns
    if "degraded" not in columns:
        raise ConfigError(f"{pictures.source} holds no degraded pictures; `residiff data degrade` makes some")
    names = [Path(part.name).stem for part in columns["degraded"]]
    if len(set(names)) < len(names):
        # Scenes in folders of their own
        names = [f"{place:06d}-{name}" for place, name in enumerate(names)]
    masks = columns.get("mask")
    truths = columns["clean"]
    return tuple(
        Item(name, columns["degraded"][place], truths[place] if with_truth else None, masks[place] if masks else None)
        for place, name in enumerate(names)
    )


def _mean_over_seeds(scores: tuple[Scored, ...]) -> Score:
    first = scores[0].score
    values = {name: fmean(each.score.values[name] for each in scores) for name in first.values}
    return Score(first.name, values, first.weights)
