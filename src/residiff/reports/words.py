"""Figures in words, as they stand in reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """Like "2 h 05 min", "3 min 20 s" or "18.4 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60:02d} min"
    return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"


def moment(time: float | None) -> str:
    """Seconds since 1970 as date and time, UTC; empty where they are none, or of no date."""
    if time is None:
        return ""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return ""


def plural(count: int, what: str) -> str:
    """Like "1 step" and "2,000 steps"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def signed(value: float, digits: int = 2) -> str:
    """Like "+5.32", with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def measure(name: str) -> str:
    """A protocol's measure as papers call it: "psnr_shadow" is "PSNR, shadow"."""
    known = max((key for key in _MEASURES if name == key or name.startswith(f"{key}_")), key=len, default="")
    if not known:
        return name
    more = [_WHERE.get(part, part) for part in name.removeprefix(known).split("_") if part]
    return ", ".join([_MEASURES[known], *more])


def gap(value: float, text: str) -> str:
    """A difference with its sign before the `text` of its size: "+0.62"."""
    return ("+" if value >= 0 else "\N{MINUS SIGN}") + text


def chance(p: float) -> str:
    """Like "0.031" and "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def unit(measure: str) -> str:
    """What stands behind a figure of a protocol's measure: " dB", or nothing."""
    return " dB" if measure.startswith("psnr") else ""


def listing(names: Sequence[str]) -> str:
    """Like "A, B and C"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def over(gain: float, what: str) -> str:
    """Like "5.32 dB above the input" or "4.49 dB below the input"."""
    return f"{abs(gain):.2f} dB {'above' if gain >= 0 else 'below'} {what}"


def source(text: str) -> str:
    """Where pictures come from, as a model file has it: "procedural, noise" or "folder set, 24 pairs, 1 held out"."""
    parts = [_part(part) for part in text.split("; ")]
    return "; ".join(parts)


def _part(text: str) -> str:
    plain = re.sub(r", \d+( of \d+)? held out\b", "", text)
    plain = re.sub(r", without (\d+) held out\b", _without, plain)
    plain = re.sub(r"\b1 (pair|picture)s\b", r"1 \1", plain)
    other = plain.endswith(", other pictures")
    begin, _, kinds = plain.removesuffix(", other pictures").partition(", ")
    if begin != "procedural" or not kinds:
        return plain
    return f"{'other ' if other else ''}procedural pictures ({kinds})"


def _without(match: re.Match[str]) -> str:
    return f", of which {match[1]} {'was' if match[1] == '1' else 'were'} held out"


def in_words(value: object) -> str:
    """A fact of a card: tables as "name: value" in a row, all else as it is."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {in_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(in_words, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


_MEASURES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "mae": "Lab MAE",
    "lpips": "LPIPS",
    "dists": "DISTS",
    "delta_e": "CIEDE2000",
}
_WHERE = {"nonshadow": "non-shadow", "masked": "in the mask", "vgg": "VGG"}
