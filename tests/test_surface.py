"""What users may build on: the public names, and a word on each of them and on every option."""

import ast
import importlib
from pathlib import Path

import pytest
import typer

import residiff
from residiff.cli.app import app
from residiff.environment import describe

PACKAGE = Path(residiff.__file__).parent
NAMES = {
    "residiff": "Descriptor Restorer __version__ load",
    "residiff.restore": """Answers Budget Decoded Descriptor Estimate Failures Gallery Generated Job Manifest Options
        Origin Outcome Provenance Record Rerun Restorer Result Shard Sources There Watcher answers_to check_sizes
        compute decode descriptors encode estimate find_mask find_model find_source gaps generate in_order
        left_to_do load memory_errors origin parse_seconds pick_device plan provenance_of rerun restore_all
        restore_bytes restore_file restore_stream survey write_failures""",
    "residiff.data.images": """Array BitDepth encode fetch Format format_like format_of from_array from_pil ImageFile
        images_by_name ImageWarning in_unit_range list_images MAX_PIXELS Metadata open_rows Picture planes_of
        provenance_of read READABLE_SUFFIXES RowReader RowWriter size_of to_array to_pil with_provenance WRITABLE
        WRITABLE_SUFFIXES write write_rows""",
    "residiff.web": """BusyError Failure Job JobState Jobs ModelEntry Product Progress RefusedError Settings Snapshot
        TooMuchWorkError UnknownModelError Work""",
    "residiff.web.http": "FORMAT_VERSION Fields create_app listen protocol serve",
}
ERRORS = {
    "ResidiffError": ("Exception", 1),
    "ConfigError": ("ResidiffError", 2),
    "ImageError": ("ResidiffError", 3),
    "ImageDecodeError": ("ImageError", 3),
    "ImageTooLargeError": ("ImageError", 3),
    "ImageUnsupportedError": ("ImageError", 3),
    "ModelFileError": ("ResidiffError", 4),
    "CheckpointError": ("ModelFileError", 4),
    "ResourceError": ("ResidiffError", 5),
    "LockedError": ("ResidiffError", 6),
    "DivergedError": ("ResidiffError", 7),
}
SCHEDULES = {"RDDM", "Resfusion", "DDPM"}  # of the contract's; tests/test_architecture.py lists the module's names


@pytest.mark.parametrize("module", NAMES)
def test_public_names(module):
    loaded = importlib.import_module(module)
    assert sorted(loaded.__all__) == sorted(NAMES[module].split())
    assert all(getattr(loaded, name) is not None for name in loaded.__all__)


def test_the_front_door_is_the_room_behind_it():
    from residiff import restore

    assert (residiff.load, residiff.Restorer, residiff.Descriptor) == (
        restore.load,
        restore.Restorer,
        restore.Descriptor,
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        residiff.nothing  # noqa: B018


def test_schedules_are_there():
    schedule = importlib.import_module("residiff.schedule")
    assert {name for name in SCHEDULES if issubclass(getattr(schedule, name), schedule.Schedule)} == SCHEDULES


def test_errors_are_one_tree_with_an_exit_code_each():
    errors = importlib.import_module("residiff.errors")
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    found = {name: value for name, value in found.items() if value.__module__ == "residiff.errors"}
    assert {
        name: (value.__base__.__name__, value.exit_code) for name, value in found.items() if name != "ConfigError"
    } == {name: row for name, row in ERRORS.items() if name != "ConfigError"}
    assert errors.ConfigError.__bases__ == (errors.ResidiffError, ValueError) and errors.ConfigError.exit_code == 2


def commands(command=None, path=("residiff",)):
    command = typer.main.get_command(app) if command is None else command
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _ in commands()])
def test_every_command_and_every_option_is_documented(path, command):
    assert command.help and command.epilog and command.epilog.startswith(f"Example: {path}".removesuffix(" residiff"))
    for parameter in command.params:
        assert (parameter.help or "").strip().endswith("."), f"{path} {parameter.name}"


def test_the_commands_that_programs_read_have_json():
    wanted = {
        "recipes list",
        "recipes show",
        "models list",
        "models info",
        "data list",
        "evaluate",
        "compare",
        "env",
        "restore",
        "rerun",
    }
    with_json = {
        path for path, command in commands() if any("--json" in parameter.opts for parameter in command.params)
    }
    assert {f"residiff {path}" for path in wanted} <= with_json


def undocumented(tree):
    """Public modules, classes, functions and methods of a syntax tree without a docstring."""

    def visit(node, path):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith(
                "_"
            ):
                here = [*path, child.name]
                if not ast.get_docstring(child):
                    yield ".".join(here)
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, here)

    if not ast.get_docstring(tree):
        yield "module"
    yield from visit(tree, [])


MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name):
    assert list(undocumented(ast.parse((PACKAGE / name).read_text("utf-8")))) == []


def test_the_search_for_docstrings_finds_what_lacks_one():
    code = '"""x"""\nclass A:\n    """x"""\n    def b(self): ...\n    def _c(self): ...\ndef d(): ...\ndef _e(): ...\n'
    assert list(undocumented(ast.parse(code))) == ["A.b", "d"]


def untyped(tree):
    """Functions with an argument or a result that has no type."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [
                argument.arg
                for argument in arguments
                if not argument.annotation and argument.arg not in ("self", "cls")
            ]
            if bare or (node.returns is None and node.name != "__init__"):
                yield node.name


@pytest.mark.parametrize("name", MODULES)
def test_everything_is_typed(name):
    assert list(untyped(ast.parse((PACKAGE / name).read_text("utf-8")))) == []
    assert (PACKAGE / "py.typed").is_file()


def test_the_environment_names_no_one(monkeypatch):
    for name in ("USER", "HOSTNAME", "HOME"):
        monkeypatch.setenv(name, "canary")
    facts = describe()
    assert facts["residiff"] == residiff.__version__ and "canary" not in str(facts)
    assert isinstance(facts["cores"], int) and facts["cores"] >= 1 and facts["memory"].endswith(" GiB")
