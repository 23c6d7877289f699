"""docs/evaluation.md: its table is what the protocols are; run as a program, this writes it."""

import re
import shlex
from pathlib import Path

import pytest

from residiff.cli.app import app
from residiff.evaluate import described
from residiff.evaluate.weights import PUBLISHED_WEIGHTS
from residiff.files import write_bytes

PAGE = Path(__file__).parent.parent.parent / "docs" / "evaluation.md"
BEGIN, END = "<!-- protocols -->\n", "<!-- /protocols -->\n"


def table() -> str:
    lines = ["| protocol | measures | mask | whose | quirks | without them |", "| --- | --- | --- | --- | --- | --- |"]
    for row in described():
        sane = f"`{row['sane']}`" if row["sane"] else ""
        cells = (f"`{row['name']}`", row["measures"], row["mask"], row["source"], row["quirks"], sane)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n" + "\n".join(lines) + "\n\n"


def written(page: str) -> str:
    """The page with the table as it is now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def test_the_table_is_the_protocols():
    page = PAGE.read_text("utf-8")
    assert page == written(page), "run python tests/evaluate/test_evaluation_page.py"


COMMANDS = re.findall(r"^    (residiff [^#\n]*)", PAGE.read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_options_that_exist(command):
    import typer

    words = shlex.split(command.replace("\\", ""))[1:]
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    assert found.name and not hasattr(found, "commands"), command
    known = {name for parameter in found.params for name in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known


def test_every_file_of_weights_is_named():
    page = PAGE.read_text("utf-8")
    for row in PUBLISHED_WEIGHTS.values():
        assert f"`{row.file}`" in page


if __name__ == "__main__":
    write_bytes(PAGE, written(PAGE.read_text("utf-8")).encode())
