"""`residiff serve`."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

from residiff.cli.console import note

EXAMPLE = "Example: residiff serve --port 8000 --model denoise --model mine.safetensors"

Host: TypeAlias = Annotated[str, typer.Option(help="0.0.0.0 for all; 127.0.0.1.", show_default=False)]
Port: TypeAlias = Annotated[int, typer.Option(help="8000; 0 finds a free one.", show_default=False)]
Models: TypeAlias = Annotated[list[str] | None, typer.Option("--model", "-m", help="May be asked for; else all.")]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", show_default=False)]
Backend: TypeAlias = Annotated[str, typer.Option(help="auto, eager, onnx, openvino...", show_default=False)]
Threads: TypeAlias = Annotated[int | None, typer.Option(help="Of computing; else torch's.")]
Queue: TypeAlias = Annotated[int, typer.Option(help="Jobs that wait at most; 16.", show_default=False)]
Deadline: TypeAlias = Annotated[float, typer.Option(metavar="SECONDS", help="Of a job; 60.", show_default=False)]
Grace: TypeAlias = Annotated[float, typer.Option(metavar="SECONDS", help="To stop, or die; 5.", show_default=False)]
Drain: TypeAlias = Annotated[float, typer.Option(metavar="SECONDS", help="For jobs to end; 20.", show_default=False)]
MaxBody: TypeAlias = Annotated[int, typer.Option(metavar="BYTES", help="Of a request; 33554432.", show_default=False)]
MaxPixels: TypeAlias = Annotated[int, typer.Option(help="Of a picture; 25000000.", show_default=False)]
MaxWork: TypeAlias = Annotated[float, typer.Option(help="Megapixels x steps; 500.", show_default=False)]
MaxParts: TypeAlias = Annotated[int, typer.Option(help="Of a form; 32.", show_default=False)]
BodySeconds: TypeAlias = Annotated[float, typer.Option(metavar="SECONDS", help="To send it; 30.", show_default=False)]
Keep: TypeAlias = Annotated[float, typer.Option(metavar="SECONDS", help="Results stay; 300.", show_default=False)]
Loaded: TypeAlias = Annotated[int, typer.Option(help="Models in memory; 3.", show_default=False)]
Token: TypeAlias = Annotated[
    str | None, typer.Option(envvar="RESIDIFF_TOKEN", help="Better by RESIDIFF_TOKEN.", show_envvar=False)
]
Page: TypeAlias = Annotated[bool, typer.Option("--page/--no-page", help="The web page.", show_default=False)]


def serve(
    host: Host = "127.0.0.1", port: Port = 8000, model: Models = None, device: Device = "auto",
    backend: Backend = "eager", threads: Threads = None, queue: Queue = 16, deadline: Deadline = 60.0,
    grace: Grace = 5.0, drain: Drain = 20.0, max_body: MaxBody = 33_554_432, max_pixels: MaxPixels = 25_000_000,
    max_work: MaxWork = 500.0, max_parts: MaxParts = 32, body_seconds: BodySeconds = 30.0, keep: Keep = 300.0,
    loaded: Loaded = 3, token: Token = None, page: Page = True,
) -> None:  # fmt: skip
    """Serve the HTTP interface and the web page: one job at a time, in a process of its own."""
    from residiff.errors import ResourceError
    from residiff.web import Settings

    settings = Settings(
        host, port, tuple(model or ()), device, backend, threads, queue, deadline, grace, drain, max_body,
        max_pixels, max_work, max_parts, body_seconds, keep, token, page, loaded,
    )  # fmt: skip
    if not settings.is_private and token is None:
        note(f"warning: whoever reaches {host} may use this server; give a token by RESIDIFF_TOKEN")
    try:
        from residiff.web.http import serve as run
        from residiff.web.page import mount
    except ImportError as error:
        raise ResourceError(f"the server needs {error.name}: pip install 'residiff[web]'") from error
    sys.exit(run(settings, lambda place: note(f"listening at {place} (Ctrl+C ends)"), mount if page else None))
