"""docs/recipe-language.md: its recipes are fine, its commands are right, and its loops do what they say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from residiff import recipe

PAGE = (Path(__file__).parent.parent / "docs" / "recipe-language.md").read_text("utf-8")
STUB = """\
#!/bin/sh
# Writes down how it was called, and what training would leave
printf '%s\\n' "$*" >> calls
while [ $# -gt 0 ]; do
  case "$1" in -o) run=$2;; training.learning_rate=*) rate=${1#*=};; training.seed=*) seed=${1#*=};; esac
  shift
done
[ -n "$run" ] || exit 0
mkdir -p "$run"
printf 'step,loss,learning_rate,seconds\\n1,9.0,1e-3,0.1\\n2,0.5,1e-3,0.2\\n3,0.25,1e-3,0.3\\n' > "$run/metrics.csv"
case "$rate" in 1e-3) score=30;; 3e-3) score=9;; *) score=21;; esac
printf 'step,loss,psnr,ssim\\n1,0.1,%s.05,0.8\\n2,0.1,%s.%s,0.9\\n3,0.1,5.0,0.9\\n' "$score" "$score" "$seed" \\
  > "$run/validation.csv"
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the page's recipes."""
    monkeypatch.chdir(tmp_path)
    for text in blocks("toml"):
        Path(re.match(r"# (\S+)", text)[1]).write_text(text)
    return tmp_path


def test_its_recipes_are_fine(desk):
    assert recipe.check("mine.toml") == recipe.check("typed.toml") == ()
    mine = recipe.read("mine.toml")
    assert (mine.training.iterations, mine.network.backbone.width, mine.task) == (5000, 16, "low-light")


def test_check_says_what_the_page_says(cli, desk):
    done = cli("recipes", "check", "mine.toml", "small.toml")
    assert done.code == 2 and done.err == blocks("text")[0]


def test_the_faults_are_told_as_the_page_tells_them(desk):
    text = recipe.read("tiny").toml()
    for line in blocks("text")[1].splitlines():
        key, said = re.match(r"(?:mine\.toml:\d+|--set \S+): ([\w.]+)(?::| is) (.*)", line).groups()
        wrong = {"training.bach": "3", "schedule.kind": "rdm", "data.crop": "18"}.get(key, "0")
        with pytest.raises(recipe.RecipeError) as caught:
            recipe.override(recipe.parse(text), [f"{key}={wrong}"])
        for part in said.split("..."):
            assert part in str(caught.value)


def test_its_python_says_what_it_prints(capsys):
    (text,) = blocks("python")
    expected = re.search(r"# (\[.*\])", text)[1]
    assert text.count("print(") == 1
    one, other = recipe.read("tiny"), recipe.override(recipe.read("tiny"), ["training.batch=4"])
    assert str(recipe.difference(one, other)) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_its_loops_train_every_run_and_name_the_best_first(desk, shell):
    stub = desk / "bin" / "residiff"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    script = "set -eu\n" + "echo ---\n".join(blocks("sh"))
    environment = {"PATH": f"{stub.parent}:/usr/bin:/bin", "LC_ALL": "C"}
    done = subprocess.run([shell], input=script, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    *_, best, means = done.stdout.split("---\n")
    assert best.splitlines() == [
        f"{score}.{seed} 3.25 rate-{rate}-seed-{seed}"
        for score, rate in ((30, "1e-3"), (21, "3e-4"), (9, "3e-3"))
        for seed in (3, 2, 1)
    ]
    assert means.splitlines() == [
        f"{rate}: {mean} dB, spread 0.20 dB" for rate, mean in (("3e-4", "21.20"), ("1e-3", "30.20"), ("3e-3", "9.20"))
    ]
    check_calls((desk / "calls").read_text())


def check_calls(calls):
    """Whatever the page has trained can be trained so."""
    trained = [line.split() for line in calls.splitlines() if line.startswith("train ")]
    assert len(trained) == 2 + 9
    for words in trained:
        settings = re.findall(r"--set (.*?)(?= --set|$)", " ".join(words))
        assert settings
        recipe.override(recipe.read(words[1]), settings)
