"""The published protocols against what the published functions gave in GNU Octave, through the protocols themselves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from residiff.data.parts import FilePart
from residiff.evaluate.pairing import Item
from residiff.evaluate.protocols import find_paired, octave
from residiff.evaluate.scoring import Scorer, scan, score_item
from residiff.metrics import Rounding, imresize

DECIBELS, SIMILARITY, LAB = 1e-4, 1e-6, 0.02
# Golden column: protocol, measure, tolerance
COLUMNS = {
    "octave.csv": {
        "y_psnr": ("rain-y", "psnr", DECIBELS),
        "y_ssim": ("rain-y", "ssim", SIMILARITY),
        "y_psnr_256": ("rain-y-256", "psnr", DECIBELS),
        "y_ssim_256": ("rain-y-256", "ssim", SIMILARITY),
        "rgb_psnr": ("gopro-rgb", "psnr", DECIBELS),
        "rgb_psnr_256": ("istd-shadow-256", "psnr", DECIBELS),
        "shadow_psnr_256": ("istd-shadow-256", "psnr_shadow", DECIBELS),
        "nonshadow_psnr_256": ("istd-shadow-256", "psnr_nonshadow", DECIBELS),
    },
    "lab_mae.csv": {
        "lab_mae_all": ("istd-shadow-256", "mae", LAB),
        "lab_mae_shadow": ("istd-shadow-256", "mae_shadow", LAB),
        "lab_mae_nonshadow": ("istd-shadow-256", "mae_nonshadow", LAB),
    },
}
LEVELS, EQUAL = 1, 0.99


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / "eval" / name
    if not path.is_file():
        pytest.fail(f"no golden file {path}; set RESIDIFF_GOLDEN to a folder that has it", pytrace=False)
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scores(folder: Path, name: str, protocol: str) -> dict[str, float]:
    parts = [FilePart(folder / "eval" / f"{name}_{kind}.png") for kind in ("pred", "gt", "mask")]
    chosen = find_paired(protocol)
    mask = parts[2] if chosen.takes_mask else None
    return dict(score_item(Item(name, parts[0], parts[1], mask), Scorer.of(octave(chosen))).score.values)


def check(folder: Path, file: str, shift: float = 0.0) -> None:
    """Fail unless every figure of a golden table is what the protocols give; `shift` moves the golden ones."""
    table = rows(folder, file)
    assert table, f"{file} holds no rows"
    for row in table:
        found = {protocol: scores(folder, row["name"], protocol) for protocol, _, _ in COLUMNS[file].values()}
        for column, (protocol, measure, tolerance) in COLUMNS[file].items():
            golden = float(row[column]) * (1 + shift)
            assert found[protocol][measure] == pytest.approx(golden, abs=tolerance, rel=0), (row["name"], column)


@pytest.mark.parametrize("file", COLUMNS)
def test_published_figures(golden_folder: Path, file: str) -> None:
    check(golden_folder, file)


@pytest.mark.parametrize("file", COLUMNS)
def test_a_golden_figure_that_is_a_hundredth_off_is_noticed(golden_folder: Path, file: str) -> None:
    with pytest.raises(AssertionError):
        check(golden_folder, file, 0.01)


def test_every_golden_column_is_held(golden_folder: Path) -> None:
    for file, columns in COLUMNS.items():
        assert set(rows(golden_folder, file)[0]) - {"name"} == set(columns)


def test_resized_pictures(golden_folder: Path) -> None:
    names = [row["name"] for row in rows(golden_folder, "octave.csv")]
    for name in names:
        source, golden = (
            scan(FilePart(golden_folder / "eval" / f"{name}_{kind}.png")).pixels for kind in ("pred", "pred_bicubic256")
        )
        apart = (imresize(source, 256, 256, Rounding.ONCE).int() - golden.int()).abs()
        assert apart.max() <= LEVELS
        assert (apart == 0).float().mean() >= EQUAL


def test_matlab_rounds_otherwise(golden_folder: Path) -> None:
    source = torch.stack([scan(FilePart(golden_folder / "eval" / "0_pred.png")).pixels])[0]
    once, twice = (imresize(source, 256, 256, rule) for rule in (Rounding.ONCE, Rounding.EACH_PASS))
    assert 0.1 < (once != twice).float().mean() < 0.4
