"""Plots and picture grids."""

from residiff.plots.schedule import grid, plot_schedule, vanishing_time

__all__ = ["grid", "plot_schedule", "vanishing_time"]
