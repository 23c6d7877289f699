"""Figures in words, as they stand in reports."""

from __future__ import annotations

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


def in_words(value: object) -> str:
    """A fact of a card: tables as "name: value" in a row, all else as it is."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {in_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(in_words, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
