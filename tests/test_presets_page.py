"""docs/recipes.md is what the recipes say. `python tests/test_presets_page.py` writes it anew."""

import re
from pathlib import Path

import torch

from residiff.files import write_bytes
from residiff.recipe import names, read
from residiff.train import learning_rate

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
RDDM, RESFUSION = "RDDM, CVPR 2024", "Resfusion, NeurIPS 2024"

HEAD = """\
# Preset recipes

`residiff recipes show NAME` prints one with every setting written out, `residiff train NAME -o RUN --data DIR` trains
by it, and without `--data` it trains on procedural pictures with a degradation of the same kind. `--set KEY=VALUE`
changes a setting. This page is written from the recipes (`python tests/test_presets_page.py`); a test compares the two.

Presets of a paper have `compat = "paper"`: what the published code does and we mended is done as published. A value
with a question mark was published nowhere that we know of, neither in the paper nor in its code; ours is a choice, and
the recipe names it in `origin.unknown`. Parameters are true counts; the papers' 7.7M for one U-Net miss its
weight-standardised convolutions.

Figures are the papers' own and ours are not among them: no preset of a paper has been trained to its end here.
"""
FOOT = """\
## How some numbers follow

* RDDM accumulates two batches an update, so that "2 x 1" are two pairs; an update is what its code counts as a step.
* Resfusion gives epochs: 5,000, of 15 updates (LOL: 485 pairs, two processes of 16), 41 (ISTD: 1,330 pairs, eight of 4)
  or 27 (RainDrop: 861 pairs, eight of 4), and 3,000 of 390 for CIFAR-10 (50,000 pictures, 128 each).
* Its learning rate is given for 256 pictures (`training.reference_batch`): 8.8e-4 x 32 / 256 = 1.1e-4, and
  4e-4 x 128 / 256 = 2e-4. It falls along the cosine once an epoch (`training.epoch`).
* Its checkpoints were chosen by PSNR (or FID) on the test pictures, which `--choose-on-test` does, and the model file
  then says; without it, pairs held out of training choose `best.safetensors`.
* Sizes: "squashed" pictures are made that size whatever their shape, "celeba" are cut to 128 x 128 around row 121 and
  column 89 first, "/ 16" are made multiples of 16, at most 1024 long; crops are cut afterwards (`data.resize`).
* T' are the steps that a schedule of T leaves, up to the point where x_0 has vanished from x_t.

## What a recipe cannot say yet

* RDDM's test code for generation may sample by another schedule than was trained (`sampling.readjusted`), but not
  together with an order other than simultaneous.
* RDDM's translation lays the lists side by side once and shuffles the pairs, which is `data.pairing = "order"`;
  which pictures of CelebA-HQ and AFHQ stood in them is not published.
"""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def page(presets):
    """docs/recipes.md."""
    text = HEAD
    for paper in (RDDM, RESFUSION):
        members = [preset for preset in presets if preset.origin and preset.origin.paper == paper]
        text += f"\n## {paper}\n"
        for columns in (model_columns, training_columns):
            rows = [columns(member) for member in members]
            text += table(list(rows[0]), [row.values() for row in rows])
    ours = [[f"`{preset.name}`", preset.task, preset.summary] for preset in presets if not preset.origin]
    return f"{text}\n## Ours\n{table(['recipe', 'task', 'what it does'], ours)}\n{FOOT}"


def is_unknown(recipe, key):
    """Whether the setting, or the table that it stands in, was published nowhere."""
    return any(key == each or key.startswith(f"{each}.") for each in recipe.origin.unknown)


SIZED = {"none": "", "squash": ", squashed", "celeba": ", celeba", "multiple-16": ", / 16"}


def number(value):
    return re.sub(r"e-0?", "e-", f"{value:.1e}").replace(".0e", "e")


def parameters(recipe):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in recipe.build().parameters())


def model_columns(recipe):
    schedule, network = recipe.schedule, recipe.network
    unknown = {key: " ?" * is_unknown(recipe, key) for key in (
        "schedule.total_noise", "schedule.length", "schedule.beta_end", "prediction.kind", "network.backbone"
    )}  # fmt: skip
    words = {
        "rddm": lambda: (
            f"rddm, T = {schedule.length}, noise variance {schedule.total_noise:g}{unknown['schedule.total_noise']}"
        ),
        "resfusion": lambda: f"resfusion, T = {schedule.length}{unknown['schedule.length']}, T' = {len(schedule)}",
        "ddpm": lambda: (
            f"ddpm, T = {schedule.length}, beta {schedule.beta_start} to "
            f"{schedule.beta_end}{unknown['schedule.beta_end']}"
        ),
        "converted-ddpm": lambda: f"converted-ddpm, T = {schedule.base.length}, noise variance 1",
    }
    shown = ["x_t", *["x_in"] * network.shows_input, *[f"mask ({network.mask_form})"] * network.mask]
    return {
        "recipe": f"`{recipe.name}`",
        "published": recipe.origin.row,
        "predicts": recipe.prediction.kind + unknown["prediction.kind"],
        "schedule": words[schedule.kind](),
        "network, parameters": f"{network.backbone.kind}, {parameters(recipe):,}{unknown['network.backbone']}",
        "shown": ", ".join(shown) + ", equalised" * (network.preprocess == "equalise"),
        "steps": recipe.sampling.steps,
        "eta": f"{recipe.sampling.eta:g}",
    }


def training_columns(recipe):
    chosen, optimiser = recipe.training, recipe.training.optimiser
    fall = f" to {number(chosen.final_learning_rate)}" if chosen.decay == "cosine" else ""
    values = {
        "size": ("data.crop", f"{recipe.data.crop}{SIZED[recipe.data.resize.value]}"),
        "turned": ("data.augment", recipe.data.augment.value),
        "pairs an update": ("training.batch", f"{chosen.accumulate} x {chosen.batch}"),
        "updates": ("training.iterations", f"{chosen.iterations:,}"),
        "learning rate": ("training.learning_rate", number(learning_rate(chosen, 0)) + fall),
        "optimiser": (
            "training.optimiser.kind",
            optimiser.kind + ", amsgrad" * optimiser.amsgrad + ", one a head" * optimiser.per_head,
        ),
        "betas": ("training.optimiser.betas", "{:g}, {:g}".format(*optimiser.betas)),
        "loss": ("training.loss", chosen.loss),
        "average": ("training.ema", f"{chosen.ema:g}, every {chosen.ema_every}" if chosen.ema else "none"),
        "seed": ("training.seed", chosen.seed),
    }
    told = {column: f"{value}{' ?' * is_unknown(recipe, key)}" for column, (key, value) in values.items()}
    return {"recipe": f"`{recipe.name}`"} | told


def test_the_page_is_what_the_recipes_say():
    written = PAGE.read_text("utf-8")
    assert written == page([read(name) for name in names()]), "python tests/test_presets_page.py writes it anew"
    assert all(f"| `{name}` |" in written for name in names())
    presets = [name for name in names() if read(name).origin]
    marked = {name for name in presets if re.search(rf"^\| `{name}` \|.* \?(?: |,)", written, re.M)}
    assert marked == {name for name in presets if read(name).origin.unknown}


if __name__ == "__main__":
    write_bytes(PAGE, page([read(name) for name in names()]).encode())
