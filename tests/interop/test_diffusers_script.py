"""The example script for diffusers runs as it stands, and without torchvision."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

RUN = """
import runpy, sys
sys.modules["torchvision"] = None
script, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_the_diffusers_script(picture_file, tmp_path):
    source = picture_file("photo.png", (40, 48, 3))
    script = EXAMPLES / "restore_with_diffusers.py"
    target, folder = tmp_path / "restored.png", tmp_path / "saved"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, script, source, target, "--steps", "3", "--save", folder],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step ") == 3 and "step 3: t = " in done.stdout
    before, after = (np.asarray(Image.open(path), float) for path in (source, target))
    assert after.shape == before.shape and np.abs(after - before).mean() > 1
    assert (folder / "model_index.json").is_file()
