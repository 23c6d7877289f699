"""Plots and picture grids."""

from residiff.plots.grid import grid, plot_before_and_after
from residiff.plots.methods import Look, Point, cost_svg, efficient, look, scores_svg
from residiff.plots.moments import Numbers, Run
from residiff.plots.paths import plot_paths
from residiff.plots.schedule import plot_schedule, vanishing_time
from residiff.plots.spectra import Spectra, plot_spectra
from residiff.plots.style import check_suffix
from residiff.plots.trajectory import plot_trajectory

__all__ = [
    "Look",
    "Numbers",
    "Point",
    "Run",
    "Spectra",
    "check_suffix",
    "cost_svg",
    "efficient",
    "grid",
    "look",
    "plot_before_and_after",
    "plot_paths",
    "plot_schedule",
    "plot_spectra",
    "plot_trajectory",
    "scores_svg",
    "vanishing_time",
]
