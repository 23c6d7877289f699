"""
Beyond one answer
=================

Samples of one picture differ where the network had to invent. Their mean is nearer to the truth than each of them, and
their deviation says where to doubt it.
"""

# %%
# A photograph in the dark, by the degradation that the model `low-light` was trained on:
import matplotlib.pyplot as plt

import residiff
from residiff.data.degrade import degrade
from residiff.data.images import Picture
from residiff.metrics import psnr
from residiff.photographs import photographs
from residiff.seeds import generator

clean = photographs()["chelsea"][:, :256, 100:356]
dark, _ = degrade("low-light", clean, generator(0), {})

# %%
# Eight samples, in pairs of opposite noise:
restorer = residiff.load("low-light", "cpu")
answers = restorer.answers(Picture(dark), count=8, antithetic=True)
one = restorer.restore(Picture(dark)).pixels
mean = answers.mean.pixels
print(f"one sample {psnr(one, clean):.2f} dB, the mean {psnr(mean, clean):.2f} dB")

# %%
# The deviation is shown four times as strong:
shown = {
    "input": dark,
    "mean of 8": mean,
    "deviation, x 4": (4 * answers.deviation).clamp(0, 1),
    "truth": clean,
}
figure, axes = plt.subplots(1, len(shown), figsize=(9, 2.6), layout="constrained")
for (title, picture), axis in zip(shown.items(), axes, strict=True):
    axis.imshow(picture.permute(1, 2, 0))
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
