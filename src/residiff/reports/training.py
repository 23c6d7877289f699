"""The report of a training run: one HTML page that needs no other file and no network."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from residiff import environment
from residiff.errors import ConfigError
from residiff.files import write_bytes
from residiff.plots.history import Event, History
from residiff.plots.steps import steps_svg
from residiff.plots.training import Panel, panel_svg, panels, plot_training, thinned
from residiff.reports.pages import Curve, curve, template
from residiff.reports.run_folder import RunFolder, read_run
from residiff.reports.words import duration, in_words, moment, over, plural, signed, source
from residiff.train import RECIPE, BeforeAfter, read_before_after

TEMPLATE = "training.html"
MAX_ROWS = 24
MAX_EVENTS = 100


class Tile(NamedTuple):
    """One figure of the outcome."""

    label: str
    value: str
    note: str = ""


class Distilled(NamedTuple):
    """Teacher and student compared, and that as a curve."""

    found: BeforeAfter
    curve: Curve


class Row(NamedTuple):
    """One validation, as it stands in the table; empty where there is nothing to say."""

    step: int
    cells: tuple[str, ...]
    best: bool


class Command(NamedTuple):
    """What to type, and what it does."""

    purpose: str
    line: str


def training_report(folder: Path, data: Path | None = None) -> bytes:
    """A page that says what a training run was, how it went, what came of it and how to use it.

    It holds its pictures and curves, loads nothing, runs no script, and takes every text from the run as text. What
    the run lacks yet, it says; what is damaged in models, pictures and recipe, it names.

    Parameters
    ----------
    folder : the run's
    data : the folder of pairs that the run was begun with, for the command that continues it

    Returns
    -------
    The HTML file.

    Raises
    ------
    ConfigError
        If `folder` is no run's, or its tables are damaged.
    """
    run = read_run(folder)
    page = template(TEMPLATE)
    return page.render(
        run=run,
        name=run.history.name if run.recipe is None else run.recipe.name,
        outcome=list(_outcome(run)),
        tiles=list(_tiles(run)),
        curves=[_curve(run.history, panel) for panel in panels([run.history])],
        distilled=_distilled(folder),
        table=_table(run),
        validations=len(_validated(run.history)),
        held_out=_held_out(run),
        judged_by=_judged_by(run),
        trained_on=_trained_on(run),
        events=_shown_events(run.history.events),
        happened=_happened(run.history),
        commands=list(_commands(run, data)),
        has_recipe_file=(folder / RECIPE).is_file(),
        machine=_machine(run),
        in_words=in_words,
        moment=moment,
    ).encode()


def write_training(folders: Sequence[Path], path: Path) -> list[Path]:
    """Write the report of one run, where `path` ends in .html, or else the curves of one or several (`plot_training`).

    Raises
    ------
    ConfigError
        As both do, and if a report is asked for and there is not exactly one run.
    ResourceError
        If the place may not be written to.
    """
    if path.suffix.lower() != ".html":
        return plot_training(folders, path)
    if len(folders) != 1:
        raise ConfigError(f"{path} would be a report, which is of one run; here are {len(folders)}: name one")
    write_bytes(path, training_report(folders[0]))
    return [path]


def _planned(run: RunFolder) -> int | None:
    return None if run.recipe is None else run.recipe.training.iterations


def _outcome(run: RunFolder) -> Iterator[str]:
    """Sentences on how far the run came and how well it restores."""
    last, planned = run.history.last, _planned(run)
    if last == 0:
        yield "The run has just begun: no step has been made yet."
        return
    whole = "" if planned is None else f" of {planned:,}"
    yield f"It made {last:,}{whole} steps in {duration(run.history.seconds)}."
    if planned is not None and last < planned:
        yield "It is not finished: it is still running, or it was stopped."
    yield from _quality(run)


def _quality(run: RunFolder) -> Iterator[str]:
    history, best = run.history, run.history.best
    if best is None:
        yield "Nothing tells how well it restores: no validation has been made."
        return
    if history.score("psnr", best) is None:
        least = f"loss is least, {history.score('loss', best):.4g}, at step {best:,}"
        yield f"Results have no true picture to be compared with; the {_judged_by(run).lower()} {least}."
        return
    yield f"{_judged_by(run)} pairs are restored best at step {best:,}: {_level(history, best)}."
    last = _validated(history)[-1]
    if last != best:
        yield f"At the last validation, step {last:,}: {_level(history, last)}."


def _level(history: History, step: int) -> str:
    """Like "28.28 dB, 7.98 dB above the degraded pictures themselves"."""
    level, gain = f"{history.score('psnr', step):.2f} dB", _gain(history, step)
    if gain is None:
        return level
    return f"{level}, {over(gain, 'the degraded pictures themselves')}"


def _gain(history: History, step: int) -> float | None:
    """How many dB the result is above the input."""
    ends = history.score("psnr", step), history.score("input_psnr", step)
    return None if ends[0] is None or ends[1] is None else ends[0] - ends[1]


def _tiles(run: RunFolder) -> Iterator[Tile]:
    history, best, planned = run.history, run.history.best, _planned(run)
    yield Tile("steps", f"{history.last:,}", "" if planned is None else f"of {planned:,}")
    yield Tile("time", duration(history.seconds), _parts(history))
    if best is not None:
        gain, psnr, ssim = _gain(history, best), history.score("psnr", best), history.score("ssim", best)
        if gain is not None:
            label = "gain over the input" if gain >= 0 else "below the input"
            value = f"{signed(gain)} dB" if gain >= 0 else f"{-gain:.2f} dB"
            yield Tile(label, value, f"at step {best:,}, on {_judged_by(run).lower()} pairs")
        if psnr is not None:
            yield Tile("PSNR", f"{psnr:.2f} dB", "" if ssim is None else f"SSIM {ssim:.3f}")
        yield Tile("best step", f"{best:,}", f"of {plural(len(_validated(history)), 'validation')}")
    for name, label, scale, unit in _RATES:
        if name in history.figures:
            values = history.figures[name].values
            value = values.max() if name == "memory" else sum(values.tolist()) / len(values)
            yield Tile(label, f"{value / scale:.3g}{unit}")


def _parts(history: History) -> str:
    resumed = len(history.told("resumed"))
    return f"in {resumed + 1} parts" if resumed else ""


def _curve(history: History, panel: Panel) -> Curve:
    thin = thinned(panel.of(history), smooth=panel.logarithmic)
    first, last = (f"{thin.values[place]:.4g} at step {int(thin.steps[place]):,}" for place in (0, -1))
    scale = ", on a logarithmic scale" if panel.logarithmic else ""
    alt = f"Curve of the {panel.label} from {first} to {last}{scale}."
    return curve(lambda theme: panel_svg(history, panel, theme), alt)


def _distilled(folder: Path) -> Distilled | None:
    """The section on teacher and student, where the run has them."""
    found = read_before_after(folder)
    if found is None:
        return None
    lines = {
        "teacher": {row.steps: row.before for row in found.rows},
        "student": {row.steps: row.after for row in found.rows},
    }
    alt = "PSNR of teacher and student against steps."
    return Distilled(found, curve(lambda theme: steps_svg(lines, theme.settings, theme.colours), alt))


def _validated(history: History) -> list[int]:
    return [int(step) for step in history.scores["loss"].steps] if "loss" in history.scores else []


def _table(run: RunFolder) -> list[Row]:
    """At most `MAX_ROWS` validations, evenly, and the best."""
    history, steps = run.history, _validated(run.history)
    last = len(steps) - 1
    shown = steps
    if len(steps) > MAX_ROWS:
        shown = [steps[round(place * last / (MAX_ROWS - 1))] for place in range(MAX_ROWS)]
    best = [] if history.best is None else [history.best]
    return [Row(step, _cells(history, step), step == history.best) for step in sorted({*shown, *best})]


def _cells(history: History, step: int) -> tuple[str, ...]:
    """Loss, PSNR, gain, SSIM and SSIM of the input."""
    cells = (
        ("{:.4g}", history.score("loss", step)),
        ("{:.2f}", history.score("psnr", step)),
        ("{:.3f}", history.score("ssim", step)),
        ("{:.2f}", history.score("input_psnr", step)),
        ("{:.3f}", history.score("input_ssim", step)),
    )
    gain = _gain(history, step)
    texts = ["" if value is None else form.format(value) for form, value in cells]
    return (*texts[:2], "" if gain is None else signed(gain), *texts[2:])


def _held_out(run: RunFolder) -> str:
    """What was kept from training to judge the best weights by."""
    told = run.chosen.get("validation")
    if isinstance(told, dict) and isinstance(told.get("pairs"), int) and "of" in told:
        before = _sources(run.chosen.get("before"))
        earlier = f" now; but before, training was on what may hold some: {before}" if before else ""
        seen = "copies of them were trained on" if told.get("seen") else "none was trained on"
        return f"{plural(told['pairs'], 'pair')} of {source(in_words(told['of']))}; {seen}{earlier}"
    return in_words(told or ("not known" if run.recipe is None else _HELD_OUT[run.recipe.validation.on]))


def _judged_by(run: RunFolder) -> str:
    """What the pictures of validations are called."""
    return "Test" if run.chosen_on_test else "Held-out"


def _trained_on(run: RunFolder) -> str:
    told, before = run.card.get("data"), _sources(run.card.get("before"))
    if told is None:
        return "not known: no model file has been written"
    return source(in_words(told)) + (f"; before: {before}" if before else "")


def _sources(told: object) -> str:
    """What else weights were trained on, in words; empty where a card tells of nothing."""
    return "; ".join(source(in_words(one)) for one in told) if isinstance(told, list) else ""


def _happened(history: History) -> list[str]:
    """Like "resumed 2 times", for what a reader of figures should know."""
    counts = Counter(event.kind for event in history.events)
    return [f"{words}: {counts[kind]:,}" for kind, words in _HAPPENED.items() if counts[kind]]


def _shown_events(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return events if len(events) <= MAX_EVENTS else events[: MAX_EVENTS // 2] + events[-MAX_EVENTS // 2 :]


def _commands(run: RunFolder, data: Path | None) -> Iterator[Command]:
    yield _continuing(run, data)
    task = "" if run.recipe is None else run.recipe.task
    for weights in run.weights:
        if weights.same_as:
            continue
        mask = ["--mask", "MASKS"] if run.recipe is not None and run.recipe.network.mask else []
        use = [*_USES.get(task, ("restore", "IN")), *mask, "-o", "OUT", "-m", str(run.folder / weights.name)]
        yield Command(f"Use {weights.name}", shlex.join(["residiff", *use]))
    curves = ["residiff", "plot", "training", str(run.folder), "-o", "curves.pdf"]
    yield Command("Draw the curves again", shlex.join(curves))


def _continuing(run: RunFolder, data: Path | None) -> Command:
    """How to go on where it was stopped, or, where it is at its end, beyond that."""
    told, planned = str(run.card.get("data", "")), _planned(run)
    mixed = run.recipe is not None and bool(run.recipe.data.mixture)
    own = not mixed and (told.startswith("procedural") or not told)
    place = [] if data is None and own else ["--data", "DIR" if data is None else str(data)]
    taught = run.recipe is not None and run.recipe.training.distil is not None
    learnt = ["--distill", "TEACHER"] if taught else []
    line = ["residiff", "train", str(run.folder / RECIPE), "-o", str(run.folder), "--resume", *learnt, *place]
    if planned is None or run.history.last < planned:
        return Command("Continue the run after an interruption", shlex.join(line))
    longer = [*line, "--override", "--set", f"training.iterations={2 * planned}"]
    return Command(f"Train longer: the run is finished, and this makes it {2 * planned:,} steps", shlex.join(longer))


def _machine(run: RunFolder) -> tuple[str, dict[str, object]]:
    """What it was trained on, where the model file says; else what the report was made on."""
    told = run.card.get("machine")
    if isinstance(told, dict):
        return "Trained on", told
    return "This report was made on", dict(environment.describe())


_RATES = (
    ("images_per_second", "pictures per second", 1, ""),
    ("memory", "memory at most", 2**30, " GiB"),
)
_HELD_OUT = {
    "carved": "pairs carved off the training pairs, which training never saw",
    "test": "pairs of the set's own test split",
    "none": "nothing: this recipe holds no pairs out",
}
_HAPPENED = {
    "resumed": "times resumed",
    "fault": "faults",
    "skipped": "updates skipped, their loss or gradient not being finite",
    "overflow": "updates skipped while float16 found its scale",
}
_USES = {"generate": ("generate", "-n", "16"), "translate": ("translate", "IN")}
