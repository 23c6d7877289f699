"""The trajectory of a sampling run: x_t on its way, and what the network makes of it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from residiff.plots.grid import arranged
from residiff.plots.moments import Moment, Numbers, Run, evenly, picture, record, signed, span_of
from residiff.plots.sheet import Sheet, png, svg
from residiff.plots.style import check_suffix, is_svg, write_with_numbers

_COLUMNS = 8


def plot_trajectory(run: Run, path: Path, truth: Tensor | None = None) -> list[Path]:
    """Write a strip of pictures, a column for each of up to eight states, and the numbers of all states beside it.

    The rows are x_t and the estimates of x_0, R and eps. R and eps are signed: zero is the middle grey, and black and
    white are what their labels say, the same over all columns. Under x_t stands its change from the state before, as
    the root of the mean square in [-1, 1]; under x_0 its PSNR, where there is a truth. Large pictures are shrunk.

    Parameters
    ----------
    run : what to show; nothing of it is computed before the suffix has been checked
    path : a .png or .svg file; the numbers go to the same name with .csv, a column for each field of `Numbers`
    truth : the clean picture (1 or 3, H, W) in [0, 1]

    Returns
    -------
    The two files written.

    Raises
    ------
    ConfigError
        If the suffix is another, or the truth is of another size.
    ResourceError
        If the place may not be written to.
    """
    check_suffix(path, "plot")
    numbers, moments, _ = record(run, truth)
    sheet = _strip(evenly(moments, _COLUMNS))
    return write_with_numbers(path, svg(sheet) if is_svg(path) else png(sheet), Numbers._fields, numbers)


def _title(numbers: Numbers) -> str:
    """The time, or those of residual and noise where they differ, and below it the coefficients."""
    r, n = ("clean" if t < 0 else f"t = {t:g}" for t in (numbers.t, numbers.t_noise))
    coefficients = f"a {numbers.signal:.2f}, r {numbers.residual:.2f}, n {numbers.noise:.2f}"
    return f"{r if r == n else f'R {r}, ε {n}'}\n{coefficients}"


def _strip(moments: list[Moment]) -> Sheet:
    *seen, end = moments
    spans = [span_of(moment.residual for moment in moments), span_of(moment.noise for moment in moments)]
    rows: list[list[Tensor | None]] = [
        [picture(moment.x) for moment in moments],
        [*(picture(moment.x0) for moment in seen), None],
        [*(signed(moment.residual, spans[0]) for moment in seen), None],
        [*(signed(moment.noise, spans[1]) for moment in seen), None],
    ]
    captions = [
        [_caption("change", moment.numbers.change) for moment in moments],
        [_decibels(moment.numbers.x0_psnr) for moment in moments],
        [_caption("rms", moment.numbers.residual_rms) for moment in moments],
        [_caption("rms", moment.numbers.noise_rms) for moment in moments],
    ]
    labels = ["xₜ", "x₀ estimate", f"R estimate\nshown: ±{spans[0]:.2g}", f"ε estimate\nshown: ±{spans[1]:.2g}"]
    return arranged(rows, [_title(moment.numbers) for moment in moments], captions, labels)


def _caption(word: str, value: float | None) -> str:
    return "" if value is None else f"{word} {value:.3f}"


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} dB"
