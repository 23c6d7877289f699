"""`residiff plot`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from residiff.cli.console import interruptible, note, show_table

if TYPE_CHECKING:
    from torch import Tensor

    from residiff.data.images import Picture
    from residiff.plots import Run
    from residiff.restore import Restorer

NAMES = "simultaneous, residual-first, noise-first, published-residual-first, residual-only or noise-only"

Output = Annotated[Path, typer.Option("--output", "-o", help="A .png or .svg file; a .csv is written beside it.")]
Source = Annotated[Path, typer.Argument(metavar="IN", help="The degraded picture.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")]
Mask = Annotated[Path | None, typer.Option(help="Where to work, white: a picture of the same size.")]
Truth = Annotated[Path | None, typer.Option(help="The clean picture, to compare with.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Pictures of what goes on inside.",
    epilog="Example: residiff plot schedule -r denoise -o s.svg",
)


@app.callback()
def _group() -> None:
    """Pictures of what goes on inside."""


@app.command("schedule", epilog="Example: residiff plot schedule --recipe denoise -o schedule.svg")
def schedule(
    output: Output,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A preset's name, or a .toml file.")] = "denoise",
    set_: Set = None,
) -> None:
    """Plot a recipe's coefficients over time, and where x_0 vanishes."""
    from residiff import plots
    from residiff import recipe as recipes

    _say(plots.plot_schedule(recipes.override(recipes.read(recipe), set_ or []).schedule, output))


@app.command("trajectory", epilog="Example: residiff plot trajectory noisy.png -m denoise --steps 5 -o trajectory.png")
def trajectory(
    source: Source,
    output: Output,
    model: Model,
    mask: Mask = None,
    steps: Steps = None,
    seed: Seed = 0,
    order: Annotated[str | None, typer.Option(metavar="NAME", help=f"{NAMES}; the model's own by default.")] = None,
    truth: Truth = None,
    set_: Set = None,
    device: Device = "auto",
) -> None:
    """Show x_t on its way, and the estimates of x_0, of the residual and of the noise at each step."""
    from residiff import plots

    sampler = _Sampler.loaded(model, device, set_, mask, steps, seed)
    _say(plots.plot_trajectory(sampler.run(source, order), output, _pixels(truth)))


@app.command("paths", epilog="Example: residiff plot paths shadow.png -m runs/mine --steps 5 -o paths.svg")
def paths(
    source: Source,
    output: Output,
    model: Model,
    mask: Mask = None,
    steps: Steps = None,
    seed: Seed = 0,
    order: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"{NAMES}; may be repeated; all by default.")
    ] = None,
    truth: Truth = None,
    set_: Set = None,
    device: Device = "auto",
) -> None:
    """Show the orders of removing residual and noise side by side.

    A network that is told one time only needs --order simultaneous; --order published-residual-first runs with any.
    """
    from residiff import plots
    from residiff.sample import ORDERS

    sampler = _Sampler.loaded(model, device, set_, mask, steps, seed)
    runs = {name: sampler.run(source, name) for name in order or ORDERS}
    _say(plots.plot_paths(runs, output, _pixels(truth)))


@app.command("spectra", epilog="Example: residiff plot spectra noisy.png -m denoise --steps 5 -o spectra.svg")
def spectra(
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Degraded pictures, or folders of them.")],
    output: Output,
    model: Model,
    mask: Annotated[Path | None, typer.Option(help="Where to work, white: one picture for all.")] = None,
    steps: Steps = None,
    seed: Seed = 0,
    order: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"{NAMES}; may be repeated; residual-only and noise-only by default."),
    ] = None,
    set_: Set = None,
    device: Device = "auto",
) -> None:
    """Show which spatial frequencies each step removes, and print the share of power below 0.1 cycles/pixel.

    A network that is told one time only needs --order simultaneous.
    """
    from residiff import plots
    from residiff.metrics.spectra import LOW

    sampler, files = _Sampler.loaded(model, device, set_, mask, steps, seed), list(_pictures(sources))
    runs = {name: sampler.runs(files, name) for name in order or ("residual-only", "noise-only")}
    found = plots.plot_spectra(runs, output)
    show_table(found.table, f"share of power below {LOW:g} cycles/pixel; of white noise {math.pi * LOW**2:.1%}")
    _say(found.files)


@app.command("training", epilog="Example: residiff plot training runs/denoise -o curves.svg")
def training(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; several share a plot.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .png, .svg or .pdf file; a .csv is written beside it, or alone if named. Of one run also a .html "
            "report: curves, figures, pictures, recipe.",
        ),
    ],
) -> None:
    """Plot how training went: loss, learning rate, gradient norm, and how well held-out pairs are restored."""
    from residiff import reports

    _say(reports.write_training(runs, output))


class _Sampler(NamedTuple):
    """What all runs of a command have in common."""

    restorer: Restorer
    mask: Picture | None
    steps: int | None
    seed: int

    @classmethod
    def loaded(
        cls, model: str, device: str, settings: list[str] | None, mask: Path | None, steps: int | None, seed: int
    ) -> _Sampler:
        from residiff.data.images import read
        from residiff.restore import load

        return cls(load(model, device, settings or []), None if mask is None else read(mask), steps, seed)

    def run(self, source: Path, order: str | None) -> Run:
        from residiff.data.images import read
        from residiff.plots import Run

        picture = read(source)
        states = self.restorer.states(picture, self.mask, steps=self.steps, seed=self.seed, order=order)
        height, width = picture.pixels.shape[1:]
        return Run(interruptible(states), (height, width))

    def runs(self, sources: list[Path], order: str) -> Iterator[Run]:
        return (self.run(source, order) for source in sources)


def _pictures(sources: list[Path]) -> Iterator[Path]:
    """The files themselves, and those in the folders."""
    from residiff.data.images import list_images

    for source in sources:
        yield from list_images(source) if source.is_dir() else [source]


def _pixels(truth: Path | None) -> Tensor | None:
    from residiff.data.images import read

    return None if truth is None else read(truth).pixels


def _say(files: list[Path]) -> None:
    for path in files:
        note(f"wrote {path}")
