"""Restore a picture as a diffusers user would.

pip install "residiff[diffusers]"
python examples/restore_with_diffusers.py photo.png restored.png --model denoise --save denoise-diffusers
"""

import argparse

import torch
from diffusers.utils import load_image

from residiff.interop.diffusers import ResidualDiffusionPipeline


def show(pipe, step, timestep, tensors):
    """How far the estimate of the clean picture has come."""
    low, high = (float(value) for value in tensors["estimate"].aminmax())
    print(f"step {step + 1}: t = {timestep}, the estimate spans {low:.2f} to {high:.2f}")
    return tensors


def main():
    """Load, restore, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--model", default="denoise", help="a model of residiff's")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--save", help="a folder to save the pipeline to, and to load it from again")
    asked = parser.parse_args()

    pipe = ResidualDiffusionPipeline.from_model(asked.model)
    if asked.save:
        pipe.save_pretrained(asked.save)
        pipe = ResidualDiffusionPipeline.from_pretrained(asked.save)
    pipe = pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    result = pipe(
        load_image(asked.source),
        num_inference_steps=asked.steps,
        generator=torch.Generator().manual_seed(0),
        callback_on_step_end=show,
        callback_on_step_end_tensor_inputs=["estimate"],
    )
    result.images[0].save(asked.output)


if __name__ == "__main__":
    main()
