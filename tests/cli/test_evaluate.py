"""`residiff evaluate`, `protocols`, `table` and `models cost`: what they print, write, refuse, and end with."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def sides(tmp_path, draw):
    """Four results and their truths, and a mask each."""
    for number in range(4):
        truth = draw((40, 48, 3), seed=number).astype(int)
        noise = draw((40, 48, 3), seed=number + 50).astype(int) // 8
        mask = np.zeros((40, 48), np.uint8)
        mask[8:30, 10:40] = 255
        for kind, pixels in (("gt", truth), ("out", (truth + noise).clip(0, 255)), ("mask", mask)):
            path = tmp_path / kind / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "out", tmp_path / "gt", tmp_path / "mask"


def said_json(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_json_as_in_the_contract(cli, sides):
    found = said_json(cli("evaluate", *sides[:2], "--json"))
    assert found["protocol"] == "rgb-8bit-full"
    assert set(found["mean"]) == {"psnr", "ssim"}
    assert [image["name"] for image in found["images"]] == ["0", "1", "2", "3"]
    assert all(image["psnr"] > 15 and 0 < image["ssim"] < 1 for image in found["images"])


def test_a_published_protocol_with_masks(cli, sides):
    found = said_json(cli("evaluate", *sides[:2], "--mask", sides[2], "-p", "istd-shadow-256", "--json"))
    assert {"psnr_shadow", "ssim_nonshadow", "mae", "mae_shadow_pooled"} <= set(found["mean"])
    assert found["version"] == 1 and found["inputs"]["mask"]["count"] == 4


def test_files_of_a_result_become_a_table(cli, sides, tmp_path):
    for label in ("first", "second"):
        ended = cli("evaluate", *sides[:2], "-o", tmp_path / label, "--label", label, "-p", "rain-y")
        assert ended.code == 0 and f"wrote {tmp_path / label}" in ended.err
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "first" / "images.csv").read_text())))) == 4
    ended = cli("table", tmp_path / "first", tmp_path / "second" / "result.json")
    assert [line.split(" | ")[0] for line in ended.out.decode().splitlines()[4:]] == ["| first", "| second"]
    among = cli("table", tmp_path / "first", "--published", "raindrop", "--format", "latex").out.decode()
    assert "Resfusion & \\textbf{" in among and among.count("first &") == 1
    cli("table", tmp_path / "first", "-f", "csv", "-o", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().startswith("method,psnr,ssim")


def test_tables_do_not_mix_protocols(cli, sides, tmp_path):
    for protocol in ("rain-y", "gopro-rgb"):
        assert cli("evaluate", *sides[:2], "-o", tmp_path / protocol, "-p", protocol).code == 0
    ended = cli("table", tmp_path / "rain-y", tmp_path / "gopro-rgb")
    assert ended.code == 2 and "different protocols" in ended.err and ended.out == b""


def test_a_model_is_scored_in_one_go(cli, sides, tiny_file, tmp_path):
    (tmp_path / "out").rename(tmp_path / "degraded")
    (tmp_path / "gt").rename(tmp_path / "clean")
    command = ("evaluate", "-m", tiny_file, "--data", tmp_path, "--device", "cpu", "--repeats", 2, "--json")
    found = said_json(cli(*command, "-o", tmp_path / "scored", "--save"))
    assert found["facts"]["seeds"] == [0, 1] and "psnr" in found["facts"]["spread"]
    for seed in (0, 1):
        again = said_json(cli("evaluate", tmp_path / f"scored/seed-{seed}", tmp_path / "clean", "--json"))
        assert again["mean"]["psnr"] == pytest.approx(found["facts"]["means"][str(seed)]["psnr"])


def test_what_is_missing_is_said(cli, sides):
    (sides[1] / "2.png").unlink()
    ended = cli("evaluate", *sides[:2])
    assert ended.code == 2 and "gt lacks 2" in ended.err and "--partial" in ended.err
    ended = cli("evaluate", *sides[:2], "--partial", "--json")
    assert ended.code == 0 and "left out: 2" in ended.err
    assert json.loads(ended.out)["missing"] == {str(sides[1]): ["2"]}


def test_measures_that_need_weights_are_said(cli, sides, monkeypatch):
    monkeypatch.delenv("RESIDIFF_WEIGHTS", raising=False)
    ended = cli("evaluate", *sides[:2], "-p", "lol-rgb-full", "--json")
    assert set(json.loads(ended.out)["mean"]) == {"psnr", "ssim"}
    assert "lpips is left out" in ended.err and "alexnet-owt-7be5be79.pth" in ended.err
    ended = cli("evaluate", *sides[:2], "-p", "lpips")
    assert ended.code == 5 and "SHA-256" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the pictures to score"),
        (("out",), "compares with true pictures"),
        (("out", "gt", "-m", "denoise"), "give the pictures to score"),
        (("-m", "denoise"), "or else --model and --data"),
        (("out", "gt", "-p", "rainy"), "no protocol 'rainy'"),
        (("out", "nothing"), "there is no nothing"),
    ],
)
def test_mistakes(cli, sides, monkeypatch, arguments, said):
    monkeypatch.chdir(sides[0].parent)
    ended = cli("evaluate", *arguments)
    assert ended.code == 2 and said in ended.err


def test_save_needs_a_model_and_a_place(cli, sides, tiny_file):
    ended = cli("evaluate", *sides[:2], "--save")
    assert ended.code == 2 and "--save" in ended.err


def test_protocols(cli):
    rows = said_json(cli("protocols", "list", "--json"))
    assert {"istd-shadow-256", "lol-rgb-full", "rain-y", "fid-cifar10"} <= {row["name"] for row in rows}
    assert b"evaluate_ISTD_results" in cli("protocols", "show", "istd-shadow-256").out
    ended = cli("protocols", "show", "istd-shadow")
    assert ended.code == 2 and "did you mean 'istd-shadow-" in ended.err


def test_costs(cli, tiny_file):
    row = said_json(cli("models", "cost", "--recipe", "resfusion-lol", "--json"))[0]
    assert (row["parameters_M"], row["GMAC_a_step"]) == (36.261, 119.17)
    assert (row["as_published_M"], row["as_published_GMAC_a_step"]) == (7.738, 32.92)
    rows = said_json(cli("models", "cost", tiny_file, "--size", "32x24", "--device", "cpu", "--json"))
    assert rows[0]["size"] == "32x24" and rows[0]["seconds"] > 0
    assert cli("models", "cost").code == 2
    assert cli("models", "cost", tiny_file, "--size", "big").code == 2


def test_help_tells_of_every_way(cli):
    ended = cli("evaluate", "--help")
    assert all(word in ended.out.decode() for word in ("--protocol", "--model", "--mask", "--partial"))
