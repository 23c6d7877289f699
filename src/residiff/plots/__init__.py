"""Plots and picture grids."""

from residiff.plots.grid import grid, plot_before_and_after
from residiff.plots.moments import Numbers, Run
from residiff.plots.paths import plot_paths
from residiff.plots.schedule import plot_schedule, vanishing_time
from residiff.plots.spectra import Spectra, plot_spectra
from residiff.plots.style import check_suffix
from residiff.plots.trajectory import plot_trajectory

__all__ = [
    "Numbers",
    "Run",
    "Spectra",
    "check_suffix",
    "grid",
    "plot_before_and_after",
    "plot_paths",
    "plot_schedule",
    "plot_spectra",
    "plot_trajectory",
    "vanishing_time",
]
