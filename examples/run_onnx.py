"""Restore a PNG by an exported model, with NumPy, Pillow and ONNX Runtime alone.

    residiff models export denoise -o exported/
    python examples/run_onnx.py exported/denoise.json photo.png restored.png

The noise is NumPy's own, or that of a file, (fields, 3, H, W), H and W padded to the size multiple: residiff's is
`numpy.save("noise.npy", residiff.noise.seeded_noise(0, (1, 3, H, W))().numpy())`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def planes(path, mode, multiple):
    """A picture as (1, C, H, W) in [-1, 1], mirrored on to multiples; and its height and width."""
    image = np.atleast_3d(np.asarray(Image.open(path).convert(mode), np.float32)) / 255
    sides = [(0, -side % multiple) for side in image.shape[:2]]
    return np.pad(image, [*sides, (0, 0)], "reflect").transpose(2, 0, 1)[None] * 2 - 1, image.shape[:2]


def mixed(weights, things):
    """The sum of weights times things, by name."""
    pairs = [pair for name, values in weights.items() for pair in zip(values, things[name], strict=False)]
    return np.float32(sum(np.float32(weight) * thing for weight, thing in pairs if weight))


def restore(sampler, run, x_in, mask, noise):
    """Sample; everything is (1, C, H, W), the result in [-1, 1]."""
    things = {"x_in": [x_in], "noise": list(noise), "x0": [], "residual": [], "eps": []}
    for call in sampler["calls"]:
        x_t = mixed(call["x_t"], things)
        previous = things["x0"][-1] if things["x0"] else np.zeros_like(x_in)
        seen = {"previous_x0": previous, "x_t": x_t, "x_in": x_in, "mask": mask}
        times = {f"time_{head}": np.float32([time]) for head, time in enumerate(call["times"])}
        given = np.concatenate([seen[name] for name in sampler["shown"]], axis=1)
        parts = [x_t, x_in, *run(None, {"x": given, **times})]
        for name, of in (("x0", "x0"), ("residual", "residual"), ("eps", "noise")):
            things[name].append(mixed({"part": call["estimate"][of]}, {"part": parts}))
    return mixed(sampler["result"], things)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for word in ("sampler", "source", "target", "--mask", "--noise"):
    parser.add_argument(word, type=Path)
asked = parser.parse_args()
sampler = json.loads(asked.sampler.read_text())
if sampler["preprocess"] != "none" or sampler["clamp"] != "none" or sampler["mask_form"] not in (None, "signed"):
    parser.error("this example knows no preprocessing, no clamps, and no masks but signed ones")
x_in, (height, width) = planes(asked.source, "RGB", sampler["size_multiple"])
mask = planes(asked.mask, "L", sampler["size_multiple"])[0] if asked.mask else None
drawn = np.random.default_rng(0).standard_normal((sampler["noise_fields"], *x_in.shape[1:]), np.float32)
noise = np.load(asked.noise) if asked.noise else drawn
run = onnxruntime.InferenceSession(asked.sampler.parent / sampler["graph"]).run
result = (restore(sampler, run, x_in, mask, noise[:, None])[0, :, :height, :width] + 1) / 2
Image.fromarray(np.uint8(np.clip(result, 0, 1).transpose(1, 2, 0) * 255 + 0.5)).save(asked.target)
