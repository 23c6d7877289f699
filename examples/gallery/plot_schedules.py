"""
Two schedules, one law
======================

Every method of the family puts x_t = a x_0 + r R + n eps on the way. Where a = r, x_0 has vanished from x_t: that is
where sampling may begin, because nothing of x_0 needs to be known there.
"""

# %%
import matplotlib.pyplot as plt
import torch

from residiff.plots import vanishing_time
from residiff.schedule import RDDM, Resfusion

schedules = {"RDDM": RDDM(length=100), "Resfusion": Resfusion(length=100)}

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
for (name, schedule), axis in zip(schedules.items(), axes, strict=True):
    levels = [schedule(t) for t in range(len(schedule.table))]
    for letter, coefficient, style in (("a", "signal", "-"), ("r", "residual", "--"), ("n", "noise", ":")):
        axis.plot([getattr(level, coefficient) for level in levels], style, label=letter)
    vanished = vanishing_time(schedule)
    axis.axvline(vanished, color="grey", linewidth=0.8)
    axis.set_title(f"{name}: x_0 vanishes at t = {vanished} of {len(levels) - 1}", fontsize=9)
    axis.set_xlabel("t")
axes[0].legend()

# %%
# RDDM keeps a = 1 and lets r grow up to it, so that x_0 vanishes at the last time. Resfusion lets a fall along DDPM's
# own curve, and r = 1 - a grow; they meet where a is a half, and only the times up to there are walked. A run of RDDM
# begins exactly with what is known, one of Resfusion as nearly as one of its times comes to a = r:
x0, residual, noise = torch.randn(3, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
for name, schedule in schedules.items():
    level = schedule(vanishing_time(schedule))
    error = (level.mix(x0, residual, noise) - level.start(x0 + residual, noise)).abs().max()
    print(f"{name}: a run that begins with x_in alone is off by: {error:.1e}")
