"""Options that several commands, or one with many of them, take; one line each of a help page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Engine(StrEnum):
    """What shares out the pictures of a run."""

    LOCAL = "local"
    RAY = "ray"


Sources: TypeAlias = Annotated[list[str], typer.Argument(metavar="IN...", help="Pictures or folders; - is stdin.")]
Output: TypeAlias = Annotated[str, typer.Option("--output", "-o", help="Picture, folder, -.")]
Model: TypeAlias = Annotated[str, typer.Option("--model", "-m", help="Bundled, file, hub id.")]
Mask: TypeAlias = Annotated[str | None, typer.Option(metavar="PATH", help="White where to work; or a folder.")]
Steps: TypeAlias = Annotated[int | None, typer.Option(help="Of sampling; the model's own.")]
BudgetOf: TypeAlias = Annotated[str | None, typer.Option("--budget", metavar="TIME", help="Or as many as fit.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of the noise; 0.", show_default=False)]
Strength: TypeAlias = Annotated[float, typer.Option(help="0 keeps the input, 1 is all.", show_default=False)]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", show_default=False)]
Backend: TypeAlias = Annotated[str, typer.Option(help="auto, eager, onnx, openvino...", show_default=False)]
Calibrate: TypeAlias = Annotated[Path | None, typer.Option(help="Pictures to fit openvino-int8 to.")]
TileOf: TypeAlias = Annotated[str, typer.Option("--tile", help="auto, a side, 0 for none.", show_default=False)]
Samples: TypeAlias = Annotated[int, typer.Option(help="Mean of so many, and doubts.", show_default=False)]
Antithetic: TypeAlias = Annotated[bool, typer.Option("--antithetic", help="Every other with -noise.")]
Keep: TypeAlias = Annotated[bool, typer.Option("--keep", help="Black of the mask stays as it is.")]
Recursive: TypeAlias = Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in shape.")]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Keep what the manifest has.")]
SkipExisting: TypeAlias = Annotated[bool, typer.Option("--skip-existing", help="Keep whatever is there.")]
ShardOf: TypeAlias = Annotated[str | None, typer.Option("--shard", metavar="I/N", help="Do this part of N.")]
Batch: TypeAlias = Annotated[int, typer.Option(help="Small pictures at once; 1.", show_default=False)]
Deterministic: TypeAlias = Annotated[bool, typer.Option("--deterministic", help="One at a time; the same bytes.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what it takes; write nothing.")]
Watch: TypeAlias = Annotated[bool, typer.Option("--watch", help="Go on with what is put there.")]
Frames: TypeAlias = Annotated[bool, typer.Option("--frames", help="Numbered, of one size and noise.")]
FormatOf: TypeAlias = Annotated[str | None, typer.Option(help="png, jpg, webp, tiff, avif, bmp.")]
Quality: TypeAlias = Annotated[int, typer.Option(help="Of lossy formats; 95.", show_default=False)]
BitDepth: TypeAlias = Annotated[int | None, typer.Option(help="8 or 16; else the input's.")]
Suffix: TypeAlias = Annotated[str, typer.Option(help="Put after the name.")]
Strip: TypeAlias = Annotated[bool, typer.Option("--strip", help="Leave out all metadata.")]
MaxPixels: TypeAlias = Annotated[int, typer.Option(help="Larger are refused; 150000000.", show_default=False)]
AllowTruncated: TypeAlias = Annotated[bool, typer.Option("--allow-truncated", help="Restore what is left.")]
Set: TypeAlias = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")]
SaveSteps: TypeAlias = Annotated[bool, typer.Option("--save-steps", help="Write every step's x_t and x_0.")]
EngineOf: TypeAlias = Annotated[Engine, typer.Option("--engine", help="ray: docs/cluster.md.", show_default=False)]
Address: TypeAlias = Annotated[str | None, typer.Option(hidden=True, help="Of a Ray cluster; else one here.")]
Workers: TypeAlias = Annotated[int | None, typer.Option(help="How many; one a GPU or core.")]
CpusPerWorker: TypeAlias = Annotated[float | None, typer.Option(hidden=True, help="That each reserves; 0.5.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
