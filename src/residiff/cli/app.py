"""The program: its commands, its exit codes, and how errors and warnings are shown.

Exit codes: 0 done; 1 a bug in residiff; 2 usage or configuration; 3 some items failed; 4 model file invalid; 5
environment; 6 output locked; 7 training diverged; 130 and 143 interrupted; 141 the reader of stdout has gone.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, NoReturn, TextIO

import typer
from rich.console import Console

from residiff import __version__
from residiff.cli import (
    bench,
    compare,
    data,
    env,
    evaluate,
    generate,
    models,
    plot,
    protocols,
    recipes,
    rerun,
    restore,
    serve,
    table,
    train,
    translate,
)
from residiff.cli.console import end_on_signals
from residiff.errors import ResidiffError, memory_errors

COMMON = {"-q", "--quiet", "-v", "--verbose", "--version"}

errors = Console(stderr=True, highlight=False, soft_wrap=True)
app = typer.Typer(
    name="residiff",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Residual diffusion models for images: restore, generate, translate, train, evaluate.",
    epilog="Example: residiff restore photo.jpg -o out.png -m denoise. The options above may stand anywhere.",
)
app.command("restore", epilog=restore.EXAMPLE)(restore.restore)
app.command("rerun", epilog=rerun.EXAMPLE)(rerun.rerun)
app.command("generate", epilog=generate.EXAMPLE)(generate.generate)
app.command("translate", epilog=translate.EXAMPLE)(translate.translate)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("table", epilog=table.EXAMPLE)(table.table)
app.command("serve", epilog=serve.EXAMPLE)(serve.serve)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)
app.command("env", epilog=env.EXAMPLE)(env.env)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(plot.app, name="plot")
app.add_typer(protocols.app, name="protocols")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"residiff {__version__}")
        raise typer.Exit()


@app.callback()
def _program(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the trace of a bug.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    logging.getLogger("residiff").setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO)


def main() -> NoReturn:
    """Run the program and end with its exit code."""
    end_on_signals()
    warnings.showwarning = _show_warning
    logging.getLogger("residiff").addHandler(_Lines())
    try:
        with memory_errors("there is not enough memory; take smaller pictures, or a smaller training.batch"):
            app(_common_first(sys.argv[1:]), prog_name="residiff")
    except ResidiffError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
    except Exception as error:
        errors.print(f"error: {type(error).__name__}: {error}", style="red", markup=False)
        errors.print("This is a bug in residiff: please report it, with what -v shows and `residiff env`.")
        if logging.getLogger("residiff").level == logging.DEBUG:
            errors.print_exception()
        sys.exit(1)
    sys.exit(0)


def _common_first(arguments: list[str]) -> list[str]:
    """The options of the program itself may stand anywhere: put them where its parser looks for them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    common = [argument for argument in arguments[:end] if argument in COMMON]
    return common + [argument for argument in arguments[:end] if argument not in COMMON] + arguments[end:]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if logging.getLogger("residiff").level <= logging.INFO:
        errors.print(f"warning: {message}", style="yellow", markup=False)


class _Lines(logging.Handler):
    """Shows the library's notes as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        errors.print(record.getMessage(), markup=False)
