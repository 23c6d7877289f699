"""
Train, restore, score: a minute
===============================

A small network learns to remove rain streaks from procedural pictures, of which there is no end, and is tried on a
photograph. A minute is a beginning: the preset goes on for 2,000 updates.
"""

# %%
# A preset recipe, shortened; the run lies in a folder, from which it could be continued:
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import residiff
from residiff import recipe
from residiff.data.degrade import degrade
from residiff.data.images import Picture
from residiff.metrics import psnr
from residiff.photographs import photographs
from residiff.seeds import generator
from residiff.train import open_run, training_data

chosen = recipe.override(recipe.read("rain"), ["training.iterations=300", "training.batch=4"])
data = training_data(chosen, None)
folder = Path(tempfile.mkdtemp()) / "rain"
with open_run(chosen, folder) as run:
    run.held_out = data.record
    losses = [progress.loss for progress in run.train(data.training, held_out=data.held_out)]

# %%
# A photograph in the rain, that the network has never seen the like of:
clean = photographs()["chelsea"][:, :256, 100:356]
rainy, _ = degrade("rain", clean, generator(0), {})
restored = residiff.load(folder, "cpu").restore(Picture(rainy)).pixels

figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, (title, picture) in zip(axes, {"rain": rainy, "restored": restored, "truth": clean}.items(), strict=True):
    axis.imshow(picture.permute(1, 2, 0))
    axis.set_title(title if picture is clean else f"{title}, {psnr(picture, clean):.2f} dB", fontsize=9)
    axis.set_axis_off()
