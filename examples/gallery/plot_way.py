"""
The way of a picture
====================

A photograph gets noise of sigma 25 of 255, and walks back in five steps. At each the network estimates x_0, R and eps,
which add up to x_t by the coefficients of that time.
"""

# %%
# A photograph of scikit-image's, and its noisy version:
import matplotlib.pyplot as plt
import torch

import residiff
from residiff.data.images import Picture
from residiff.metrics import psnr
from residiff.photographs import photographs
from residiff.seeds import generator

clean = photographs()["coffee"][:, 80:336, 180:436]
noisy = (clean + 25 / 255 * torch.randn(clean.shape, generator=generator(0))).clamp(0, 1)

# %%
# All states of the sampling run; they lie in [-1, 1]:
restorer = residiff.load("denoise", "cpu")
states = list(restorer.states(Picture(noisy), steps=5, seed=0))

figure, rows = plt.subplots(2, len(states), figsize=(9, 3.6), layout="constrained")
for state, (above, below) in zip(states, rows.T, strict=True):
    level = state.level
    above.set_title(f"t = {level.t:g}\nr = {level.residual:.2f}, n = {level.noise:.2f}", fontsize=8)
    estimate = (state.estimate.x0[0] + 1) / 2
    below.set_title(f"{psnr(estimate.clamp(0, 1), clean):.2f} dB", fontsize=8)
    for axis, picture in ((above, (state.x[0] + 1) / 2), (below, estimate)):
        axis.imshow(picture.clamp(0, 1).permute(1, 2, 0))
        axis.set_axis_off()

# %%
# Above x_t, below the estimate of x_0 that was made of it, and its PSNR. `residiff plot trajectory` draws the same with
# R and eps, and writes the numbers beside it.
