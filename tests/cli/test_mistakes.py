"""Mistakes that users make: each ends with its exit code and one message that names the cause and the mend."""

import errno
import os
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from residiff import models, recipe

RUN = "restore photos -o out -m low-light"

# what is typed, the exit code, and what the message holds: the cause, and the nearest valid name or another mend
MISTAKES = {
    "command": ("restroe photos -o out", 2, "No such command 'restroe'. Did you mean 'restore'"),
    "sub-command": ("recipes lst", 2, "No such command 'lst'. Did you mean 'list'"),
    "option": (f"{RUN} --stepz 3", 2, "No such option: --stepz .*--steps"),
    "no output": ("restore photos -m low-light", 2, "Missing option '--output'"),
    "no model": ("restore photos -o out", 2, "Missing option '--model'"),
    "no picture": ("restore -o out -m low-light", 2, "Missing argument 'IN...'"),
    "a word for a number": (f"{RUN} --steps many", 2, "Invalid value for '--steps': "),
    "folder": ("restore phptos -o out -m low-light", 2, "phptos does not exist; did you mean photos"),
    "file": ("restore photos/aa.png -o out -m low-light", 2, "aa.png does not exist; did you mean photos/a.png"),
    "far from any file": ("restore zzzzzz -o out -m low-light", 2, "zzzzzz does not exist; look at the path"),
    "empty folder": ("restore empty -o out -m low-light", 2, "no pictures found in empty; .*--recursive"),
    "model": ("restore photos -o out -m lowlight", 4, "no model 'lowlight'; did you mean 'low-light'"),
    "far from any model": (
        "restore photos -o out -m zz",
        4,
        "no model 'zz'; bundled are low-light, shadow; or give a file",
    ),
    "picture as model": ("restore photos -o out -m photos/a.png", 4, "not a safetensors file"),
    "text as model": ("restore photos -o out -m notes.png", 4, "not a safetensors file"),
    "cut model": ("restore photos -o out -m cut.safetensors", 4, "SHA-256 does not match; fetch or copy it again"),
    "foreign model": ("restore photos -o out -m foreign.safetensors", 4, "not written by residiff"),
    "folder without model": (
        "restore photos -o out -m photos",
        4,
        "cannot read model file photos.model.safetensors: there is no such file",
    ),
    "checkpoint as model": ("models info state.safetensors", 4, "holds a training state, not a model"),
    "no steps": (f"{RUN} --steps 0", 2, "steps is 0; allowed are 1 to 1000"),
    "too many steps": (f"{RUN} --steps 1001", 2, "steps is 1001; allowed are 1 to 1000"),
    "strength": (f"{RUN} --strength 50", 2, "strength is 50.0; allowed are 0 to 1"),
    "seed": (f"{RUN} --seed -1", 2, "seed is -1; allowed are 0 to"),
    "quality": (f"{RUN} --quality 101", 2, "quality is 101; allowed are 1 to 100"),
    "bit depth": (f"{RUN} --bit-depth 10", 2, "bit-depth is 10; allowed are 8 and 16"),
    "format": (f"{RUN} --format gif", 2, "format is 'gif'; allowed are .*png"),
    "depth of a format": ("restore photos/a.png -o b.jpg -m low-light --bit-depth 16", 2, "jpeg holds 8 bits; use png"),
    "suffix": (f"{RUN} --suffix /x", 2, "suffix is '/x'.*no slashes"),
    "device": (f"{RUN} --device gpu", 2, "device 'gpu' is not known; allowed are auto, cpu"),
    "no mask": ("restore photos -o out -m shadow", 2, "model 'masked' needs a mask .*--mask"),
    "a mask too many": (f"{RUN} --mask photos/a.png", 2, "takes no mask; leave it out"),
    "missing mask": ("restore photos -o out -m shadow --mask mosk", 2, "mask mosk does not exist; did you mean mask"),
    "missing mask of one": ("restore photos -o out -m shadow --mask mask", 2, "mask holds 0 masks for b.png"),
    "mask of another size": (
        "restore photos/a.png -o x.png -m shadow --mask mask/a.png",
        2,
        "mask is 5 x 4, the image 4 x 5",
    ),
    "output is input": (
        "restore photos -o photos -m low-light",
        2,
        "over a picture to read; choose another output or --suffix",
    ),
    "two of one name": (
        "restore photos twice/a.jpg -o out -m low-light --format png",
        2,
        "both become out.a.png; rename one",
    ),
    "file for many": ("restore photos -o out.png -m low-light", 2, "out.png is the name of one picture.*give a folder"),
    "gif to write": ("restore photos/a.png -o a.gif -m low-light", 2, "cannot write a.gif: .*ending in"),
    "text as picture": ("restore notes.png -o out -m low-light", 3, "notes.png: not a PNG.*convert it to one"),
    "alpha in JPEG": ("restore alpha.png -o a.jpg -m low-light", 3, "jpeg holds no alpha; use png"),
    "too large": (
        "restore photos/a.png -o b.png -m low-light --max-pixels 9",
        3,
        "over the limit of 9; raise it by --max-pixels",
    ),
    "stdin and files": ("restore - photos -o out -m low-light", 2, "to 'out'; name a picture|pipe takes one picture"),
    "stdin to a folder": ("restore - -o out -m low-light", 2, "cannot write stdin to 'out'; name a picture"),
    "folder to stdout": ("restore photos -o - -m low-light", 2, "a pipe takes one picture"),
    "hub without its package": ("restore photos -o out -m some/model", 5, "pip install huggingface_hub"),
    "recipe": ("train denoize -o run", 2, "no recipe 'denoize'; did you mean 'denoise'"),
    "recipe's file": ("train mine.toml -o run", 2, "cannot read recipe 'mine.toml': .*No such file"),
    "recipe that is no recipe": ("recipes check notes.toml", 2, "notes.toml:1: not TOML"),
    "setting": ("train tiny -o run --set training.batch", 2, "'training.batch' is not KEY=VALUE"),
    "setting's key": ("train tiny -o run --set training.bach=4", 2, "training.bach: "),
    "setting's value": ("train tiny -o run --set training.batch=0", 2, "training.batch: .*greater than or equal to 1"),
    "setting's word": ("train tiny -o run --set schedule.kind=rdm", 2, "'rdm' .*'rddm', 'resfusion'"),
    "device to train on": ("train tiny -o run --device gpu", 2, "device 'gpu' is not known; allowed are auto, cpu"),
    "model to start from": ("train tiny -o run --init lowlight", 4, "no model 'lowlight'; did you mean 'low-light'"),
    "model that does not fit": ("train denoise -o run --init low-light", 4, "weights do not fit the recipe's network"),
    "a run that is there": ("train tiny -o old", 2, "old holds a run already; continue it with --resume"),
    "data folder": ("train tiny -o run --data photos", 2, "smaller than the crop of 48; set a smaller crop"),
    "pairs": ("train tiny -o run --data unpaired", 2, "unpaired: no file for degraded/a"),
    "degradation": ("data make -o set -k rian", 2, "'rian' is not a degradation: did you mean 'rain'"),
    "degradation's parameter": (
        "data make -o set -k noise --set sgima=3",
        2,
        "'sgima' is not a .*did you mean 'sigma'",
    ),
    "degradation's range": (
        "data make -o set -k noise --set sigma=9,3",
        2,
        "sigma = .*give .low, high. with 0 <= low <= high",
    ),
    "degradation's number": ("data make -o set -k noise --set sigma=x", 2, "'sigma=x' is not NAME=LOW,HIGH"),
    "three numbers": ("data make -o set -k noise --set sigma=1,2,3", 2, "'sigma=1,2,3' has 3 numbers; give one"),
    "no pairs": ("data make -o set -k noise -n 0", 2, "count is 0; allowed are 1 to"),
    "size": ("data make -o set -k noise --size 99999", 2, "size is 99999; allowed are 1 to"),
    "nothing to degrade": ("data degrade empty -o set -k noise", 2, "empty holds no pictures"),
    "no folder to degrade": ("data degrade notes.png -o set -k noise", 2, "notes.png is not a folder"),
    "degraded over clean": (
        "data degrade photos -o photos -k noise",
        2,
        "over the clean pictures.*choose another folder",
    ),
    "two formats": ("data degrade twice -o set -k noise", 2, "a.jpg and a.png have the same name; keep one"),
    "truth": ("evaluate photos tuth", 2, "there is no tuth; give two files or two folders"),
    "truth's names": ("evaluate photos mask", 2, "paired by name, but mask lacks b"),
    "plot's file": ("plot schedule -o s.jpg", 2, r"\.png"),
    "a file near by": ("train wovne.toml -o run", 2, "No such file or directory; did you mean woven.toml"),
    "a folder near by": ("train tiny -o run --data phtos", 2, "phtos is not a folder; did you mean photos"),
    "a model's file near by": ("models info foreing.safetensors", 4, "did you mean foreign.safetensors"),
    "a checkpoint near by": ("models import cut.safetensor -o x.safetensors", 4, "did you mean cut.safetensors"),
    "truth near by": ("evaluate photos msk", 2, "there is no msk; .*did you mean mask"),
    "a set to score near by": ("evaluate --model low-light --data phots", 2, "no folder; .*did you mean photos"),
    "a model in capitals": (f"{RUN.replace('low-light', 'Shadow')}", 4, "no model 'Shadow'; did you mean 'shadow'"),
    "backend": (f"{RUN} --backend opnx", 2, "backend 'opnx' is not known; .*did you mean 'onnx'"),
    "tile": (f"{RUN} --tile many", 2, "tile is 'many'; give auto, a side in pixels, or 0"),
    "a tile too small": (f"{RUN} --tile 7", 2, "tile is 7; allowed are"),
    "budget": (f"{RUN} --budget soon", 2, "budget is 'soon'; give a time for each picture, 2s"),
    "budget and steps": (f"{RUN} --budget 1s --steps 3", 2, "leave one of them out"),
    "shard": (f"{RUN} --shard half", 2, "shard is 'half'; give which part of how many, 1/3"),
    "a shard too many": (f"{RUN} --shard 3/2", 2, "shard is 3/2; allowed are 1/2 to 2/2"),
    "samples": (f"{RUN} --samples 0", 2, "samples is 0; allowed are 1 to 1000"),
    "one antithetic sample": (f"{RUN} --antithetic", 2, "give --samples 2 or more"),
    "kept without a mask": (f"{RUN} --keep", 2, "give one with --mask"),
    "batch": (f"{RUN} --batch 0", 2, "batch is 0; allowed are 1 to"),
    "a word for a seed": (f"{RUN} --seed x", 2, "Invalid value for '--seed'"),
    "a seed too large": (f"{RUN} --seed 99999999999999999999", 2, "allowed are 0 to 9223372036854775807"),
    "no such card": (f"{RUN} --device cuda:7", 2, "device 'cuda:7' cannot be used here .*take auto or cpu"),
    "a model's setting": (f"{RUN} --set sampling.ordr=x", 2, "no such setting; did you mean sampling.order"),
    "order": (f"{RUN} --set sampling.order=simultaneus", 2, "did you mean 'simultaneous'"),
    "two ways to go on": (f"{RUN} --resume --skip-existing", 2, "take one of them"),
    "calibration for nothing": (f"{RUN} --calibrate photos", 2, "for --backend openvino-int8.*leave it out"),
    "a file for a folder": ("restore photos/a.png -o notes.toml/b.png -m low-light", 5, "in the way.*choose another"),
    "a file for a run": ("train tiny -o notes.png", 5, "cannot write notes.png: a file .*choose another place"),
    "a cut picture": ("restore cut.png -o x.png -m low-light", 3, "cut.png: damaged or cut short .*get it again"),
    "generation by a restorer": ("generate -m low-light -n 2 -o made", 2, "use `residiff restore`"),
    "no recipe's kind": ("train tiny -o run --set network.backbone.kind=unett", 2, "did you mean 'unet'"),
    "a kind far from any": ("train tiny -o run --set schedule.kind=zzz", 2, "if a plug-in has it, install that"),
    "prediction": ("train tiny -o run --set prediction.kind=residul", 2, "did you mean 'residual'"),
    "optimiser": ("train tiny -o run --set training.optimiser.kind=adan", 2, "did you mean 'adam'"),
    "layout": ("train tiny -o run --data photos --set data.layout=pairred", 2, "did you mean 'paired'"),
    "crop": ("train tiny -o run --set data.crop=13", 2, "data.crop is 13; this network needs a multiple of 4"),
    "empty data": ("train tiny -o run --data empty", 2, "empty is empty; give the folder that the set is in"),
    "protocol": ("evaluate photos photos -p rgb-8bit-ful", 2, "no protocol .*did you mean 'rgb-8bit-full'"),
    "protocol far from any": ("evaluate photos photos -p zz", 2, "`residiff protocols list` names them"),
    "small for SSIM": ("evaluate photos photos", 2, "the images are 4 x 5 pixels; SSIM needs at least 11 x 11"),
    "nothing to compare with": ("evaluate photos", 2, "give their folder after that of the results"),
    "mask without a use": ("evaluate photos photos --mask mask -p perceptual", 2, "takes no mask; leave it out"),
    "weights": ("evaluate photos photos -p lpips", 5, "needs the weights 'alexnet'.*fetch https"),
    "format of a graph": ("models export low-light -o out --format onx", 2, "'onx'; .*did you mean 'onnx'"),
    "ending of a graph": ("models export low-light -o out.onx", 2, "ends in '.onx'; did you mean '.onnx'"),
    "steps to tune": ("models tune low-light -o t.safetensors --steps 1,x", 2, "give numbers with commas"),
    "size to count": ("models cost low-light --size 0", 2, "size is 0; allowed are 1 to"),
    "words for a size": ("models cost low-light --size big", 2, "size is 'big'; give a side, 256"),
    "nothing to count": ("models cost", 2, "name a model .*or a recipe to count"),
    "licence": ("models share low-light -o hub --licence Apache", 2, "licence is 'Apache'; .*apache-2.0"),
    "repository": ("models share low-light -o hub --to mine", 2, "repository is 'mine'; give owner/name"),
    "sharing without the package": ("models share low-light -o hub --to me/it", 5, "pip install huggingface_hub"),
    "picture to make again": ("rerun photos/a.png", 2, "says how it was made; it was stripped, or never restored"),
    "table of nothing": ("table nowhere", 2, "cannot read nowhere: .*`residiff evaluate -o` writes it"),
    "plot's name": ("plot schedul -o s.png", 2, "No such command 'schedul'. Did you mean 'schedule'"),
    "plot's recipe": ("plot schedule -r tinny -o s.png", 2, "no recipe 'tinny'; did you mean 'tiny'"),
}


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_file, masked_file):
    """A user's folder, with two bundled models and no huggingface_hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "bundled", lambda: {"low-light": tiny_file, "shadow": masked_file})
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for folder in ("photos", "empty", "mask", "twice", "unpaired/clean", "unpaired/degraded"):
        (tmp_path / folder).mkdir(parents=True)
    colours, grey = Image.fromarray(np.full((5, 4, 3), 99, np.uint8)), Image.fromarray(np.full((4, 5), 99, np.uint8))
    for name in ("photos/a.png", "photos/b.png", "twice/a.png", "twice/a.jpg", "unpaired/clean/a.png"):
        colours.save(name)
    grey.save("mask/a.png")
    colours.convert("RGBA").save("alpha.png")
    (tmp_path / "notes.png").write_text("not a picture, not a model, not a recipe\n")
    (tmp_path / "notes.toml").write_text("this is no recipe\n")
    (tmp_path / "old/checkpoints").mkdir(parents=True)
    (tmp_path / "old/checkpoints/step-000000000001.safetensors").write_bytes(b"of an earlier run")
    (tmp_path / "woven.toml").write_text("include = 'tiny'\n")
    (tmp_path / "cut.png").write_bytes((tmp_path / "photos/a.png").read_bytes()[:60])
    (tmp_path / "cut.safetensors").write_bytes(tiny_file.read_bytes()[:-8])
    return tmp_path


@pytest.fixture
def more_models(place):
    """A foreign safetensors file, and a training state."""
    from safetensors.torch import save_file

    from residiff.checkpoint import TrainingState, save_state

    save_file({"weight": torch.zeros(2)}, place / "foreign.safetensors")
    save_state(
        place / "state.safetensors", TrainingState(recipe.read("tiny"), 1, "procedural", {"weight": torch.zeros(2)})
    )


def files_of(folder):
    return {path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "failures.jsonl")}


def _full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _without_memory(*_, **__):
    raise torch.OutOfMemoryError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory")


# What the machine lacks, and how it comes to: what is put in the place of what
LACKS = {
    "onnxruntime": (f"{RUN} --backend onnx", 5, r'pip install "residiff\[onnx\]"', "onnxruntime"),
    "openvino": (f"{RUN} --backend openvino", 5, r'pip install "residiff\[openvino\]"', "openvino"),
    "onnx to export by": ("models export low-light -o out", 5, r'pip install "residiff\[onnx\]"', "onnx"),
    "memory": (
        "restore photos/a.png -o b.png -m low-light",
        5,
        "does not fit into memory; restore it in .*or at a smaller size",
        (torch.nn.Conv2d, "forward", _without_memory),
    ),
    "disk": ("restore photos/a.png -o b.png -m low-light", 5, "disk is full: free some space", (os, "fsync", _full)),
    "disk for a set": ("data make -o set -k noise -n 1 --size 16", 5, "free some space", (os, "fsync", _full)),
    "disk for a card": ("models share low-light -o hub", 5, "disk is full: free some space", (os, "fsync", _full)),
}


@pytest.mark.parametrize("name", LACKS)
def test_lack(cli, place, monkeypatch, name):
    typed, code, message, cause = LACKS[name]
    before = files_of(place)
    if isinstance(cause, str):
        monkeypatch.setitem(sys.modules, cause, None)
    else:
        monkeypatch.setattr(*cause)
    check_said(cli(*typed.split()), code, message)
    monkeypatch.undo()
    assert not [path for path in files_of(place) - before if path.suffix in (".png", ".safetensors", ".onnx", ".md")]


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(cli, place, more_models, name):
    typed, code, message = MISTAKES[name]
    before = files_of(place)
    check_said(cli(*typed.split()), code, message)
    assert files_of(place) == before


def check_said(done, code, message):
    """One message, and no trace."""
    assert done.code == code, done.err
    assert done.out == b""
    said = re.sub(r"[│╭╮╰╯─ ]+", " ", done.err)
    assert re.search(message, said), done.err
    assert "Traceback" not in said and "bug in residiff" not in said
    problems = re.findall(r"(?m)^ ?(?:error:|failed:|Error $)", said)
    assert len(problems) == 1, done.err


def test_there_are_enough():
    assert len(MISTAKES) >= 40


def test_a_folder_without_any_mistake_works(cli, place):
    assert cli("restore", "photos", "-o", "out", "-m", "low-light").code == 0
    assert {path.name for path in (place / "out").glob("*.png")} == {"a.png", "b.png"}
