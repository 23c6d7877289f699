"""Tables: every format holds the same figures, the best one is marked, and what does not belong together is refused."""

from __future__ import annotations

import csv
import io

import pytest

from residiff.errors import ConfigError
from residiff.evaluate.protocols import find
from residiff.evaluate.published import published_table, published_tables
from residiff.evaluate.results import Inputs, Result, Score
from residiff.evaluate.tables import TableFormat, images_csv, rows_of, table_of, write_result, write_table


def result(label: str, *psnrs: float, protocol: str = "rgb-8bit-full") -> Result:
    images = tuple(Score(f"{place}", {"psnr": one, "ssim": one / 50}) for place, one in enumerate(psnrs))
    return Result(protocol, 1, images, inputs={"truth": Inputs("gt", len(psnrs), "aa")}, label=label)


BOTH = [result("a|b", 20.0, 30.0), result("c_d & e", 24.0, 28.0)]


def test_markdown():
    lines = write_table(table_of(BOTH), TableFormat.MARKDOWN).splitlines()
    assert lines[0] == "**rgb-8bit-full, version 1**"
    assert lines[2] == "| method | psnr ↑ | ssim ↑ | of |"
    assert lines[4].startswith(r"| a\|b | 25.00 [20.00, 30.00] | 0.5000 [")
    assert lines[5].startswith("| c_d & e | **26.00** [24.00, 28.00] | **0.5200** [")


def test_latex():
    text = write_table(table_of(BOTH), TableFormat.LATEX)
    assert r"Method & psnr $\uparrow$ & ssim $\uparrow$ \\" in text
    assert r"c\_d \& e & \textbf{26.00} & \textbf{0.5200} \\" in text
    assert text.count(r"\\") == 3 and r"\begin{tabular}{lrr}" in text


def test_csv():
    rows = list(csv.DictReader(io.StringIO(write_table(table_of(BOTH), TableFormat.CSV))))
    assert [(row["method"], float(row["psnr"])) for row in rows] == [("a|b", 25.0), ("c_d & e", 26.0)]
    assert float(rows[0]["psnr_low"]) == 20.0


def test_a_new_result_stands_among_the_published_ones():
    ours = result("ours", 24.0, 26.0, protocol="lol-rgb-full")
    table = table_of([ours], published_table("lol-rgb-full", "lol"))
    assert [row.method for row in table.rows][-2:] == ["Resfusion", "ours"]
    text = write_table(table, TableFormat.MARKDOWN)
    assert "| ours | **25.00** [24.00, 26.00] |" in text
    assert "| Resfusion | 24.63 | **0.8600** | **0.1070** | Resfusion |" in text


def test_lower_is_better_where_it_is():
    table = table_of([result("x", 1.0, protocol="lol-rgb-full")], published_table("lol-rgb-full", "LOL"))
    assert table.best("lpips") == "0.1070"


def test_what_does_not_belong_together():
    with pytest.raises(ConfigError, match="different protocols"):
        table_of([result("a", 1.0), result("b", 1.0, protocol="rain-y")])
    with pytest.raises(ConfigError, match="by lol-rgb-full, the results by rgb-8bit-full"):
        table_of([result("a", 1.0)], published_table("lol-rgb-full", "LOL"))
    with pytest.raises(ConfigError, match="no figures are published of 'LOL' by rain-y"):
        published_table("rain-y", "LOL")
    with pytest.raises(ConfigError, match="no results"):
        table_of([])


@pytest.mark.parametrize("table", published_tables(), ids=lambda table: table.title)
def test_published_tables_are_of_protocols_that_are(table):
    protocol = find(table.protocol)
    assert len({row.method for row in table.rows}) == len(table.rows)
    for name in table.measures:
        protocol.higher(name)
        values = [row.values[name] for row in table.rows if name in row.values]
        assert values, f"no figure of {name}"
        if name.startswith("ssim"):
            assert all(0 < value < 1 for value in values)


def test_some_published_figures():
    istd = published_table("istd-shadow-256", "ISTD")
    assert {row.method: row.values["psnr"] for row in istd.rows}["Resfusion"] == 31.81
    assert istd.rows[0].values["mae_shadow"] == 32.11
    assert published_table("fid-cifar10", "CIFAR-10").rows[-1].values["fid"] == 6.31


def test_each_picture_has_a_row(tmp_path):
    scored = Result("istd-shadow-full", 1, (Score("a", {"psnr": 20.0, "mae": 3.0}, {"mae": 7.0}),))
    assert images_csv(scored) == "name,psnr,mae,mae_pixels\na,20.0,3.0,7.0\n"
    write_result(BOTH[0], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.csv", "result.json", "table.md", "table.tex"]


def test_rows_for_people():
    rows = rows_of(BOTH[0])
    assert [row["name"] for row in rows] == ["0", "1", "mean", "95 % low", "95 % high"]
    assert [row["psnr"] for row in rows] == ["20.00", "30.00", "25.00", "20.00", "30.00"]
    assert [row["name"] for row in rows_of(result("one", 20.0))] == ["0", "mean"]
