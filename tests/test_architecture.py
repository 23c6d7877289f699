"""The shape of the package: imports go downwards, the core stands alone, and nothing can run code from a file."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

import residiff

PACKAGE = Path(residiff.__file__).parent

# Rooms from the bottom up; those of one row do not know each other. A new room is declared here, or the tests fail.
FLOORS = (
    ("errors", "nearest", "recipes", "version"),
    ("files", "memory", "models", "parallel", "plugins", "seeds"),
    ("schedule", "noise", "curve"),
    ("prediction",),
    ("sample",),
    ("denoiser",),
    ("nn", "data", "metrics"),
    ("recipe", "photographs", "tensorfile"),
    ("checkpoint", "backends", "inference"),
    ("adapters",),
    ("train", "restore"),
    ("evaluate",),
    ("__init__",),
    ("interop", "bench", "plots", "demo", "environment"),
    ("reports",),
    ("web",),
    ("cli",),
    ("__main__",),
)
HEIGHTS = {room: height for height, floor in enumerate(FLOORS) for room in floor}
CORE = ("schedule", "noise", "prediction", "denoiser", "sample")
TRASH_CAN_NAMES = {"util", "utils", "helper", "helpers", "misc", "common", "tools"}
RUNS_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter",
    "np.load", "numpy.load", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen",
}  # fmt: skip
# The one reader of pickles: a process of its own, under limits; tests/adapters holds it to `weights_only=True`
EXEMPT = {"adapters.unpickle": ["torch.load", "weights_only"]}
PUBLIC = {
    "schedule": """AnySchedule BBDM BETAS Coefficient ColdDiffusion ConvertedDDPM DDPM DiffUIR GRIDS Grid I2SB IRSDE
        InDI Increments Level RDDM ResShift ResidualFlow Resfusion SHAPES Schedule even_grid injected_variance
        leading_grid mixed offset_leading_grid published_grid quadratic_grid""",
    "prediction": """AnyPrediction Asked Clamp Estimate Estimator Noise Outputs Prediction ResNoise Residual
        ResidualAddNoise ResidualNoise Velocity X0 X0AddNoise X0Noise""",
    "denoiser": """Backbone Denoiser LOSSES Loss MASK_FORMS MaskForm TIME_INPUTS TimeInput coefficient_time from_model
        index_time to_model""",
    "errors": """CheckpointError ConfigError DivergedError ImageDecodeError ImageError ImageTooLargeError
        ImageUnsupportedError LockedError ModelFileError ResidiffError ResourceError check_range is_out_of_memory
        memory_errors""",
    "seeds": "MAX_SEED generator seed_of",
    "files": "environment_errors lock replacing sha256 sha256_of sweep sync_folder write_bytes",
}


def sources():
    """Every module: its dotted name below the package ("data.images", "nn.__init__"), and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), ast.parse(path.read_text("utf-8"), str(path))


TREES = dict(sources())


CORE_MODULES = [name for name in TREES if name.split(".")[0] in CORE]


def imported(tree):
    """Dotted names that a tree imports anywhere, inside functions and under TYPE_CHECKING as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def dotted(node):
    """`a.b.c` of a name or attribute, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def own(name, trees):
    """The module of this package that an imported dotted name comes from, or None."""
    if not (name + ".").startswith("residiff."):
        return None
    parts = name.split(".")[1:]
    for end in range(len(parts), -1, -1):
        for candidate in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if candidate in trees:
                return candidate
    raise AssertionError(f"{name} is not there")


def edges(trees):
    """(importer, imported) for every import inside the package."""
    return {(name, target) for name, tree in trees.items() for raw in imported(tree) if (target := own(raw, trees))}


def room(module):
    return module.split(".")[0]


def upward(trees):
    between = {(name, target) for name, target in edges(trees) if room(name) != room(target)}
    wrong = (pair for pair in between if HEIGHTS.get(room(pair[1]), 99) >= HEIGHTS.get(room(pair[0]), 0))
    return sorted(f"{name} -> {target}" for name, target in wrong)


def cycle(trees):
    """One cycle of modules, or an empty list."""
    following = {name: [] for name in trees}
    for name, target in sorted(edges(trees)):
        following[name].append(target)
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = next((loop for target in following[name] if (loop := visit(target, [*path, name]))), [])
        done.add(name)
        return found

    return next((loop for name in trees if (loop := visit(name, []))), [])


def test_every_room_is_declared():
    assert {room(name) for name in TREES} <= HEIGHTS.keys()


def test_imports_go_downwards():
    assert upward(TREES) == []


def test_there_is_no_cycle():
    assert cycle(TREES) == []


def test_the_walk_sees_upward_imports_and_cycles():
    planted = TREES | {"errors": ast.parse("def late():\n    from residiff.denoiser import Denoiser")}
    assert set(upward(planted)) - set(upward(TREES)) == {"errors -> denoiser"}
    assert {"errors", "denoiser"} & set(cycle(planted))
    inside = TREES | {"data.degrade.draws": ast.parse("from residiff.data import synthetic")}
    inside["data.synthetic"] = ast.parse("import residiff.data.degrade.draws")
    assert set(upward(inside)) <= set(upward(TREES))
    assert set(cycle(inside)) == {"data.degrade.draws", "data.synthetic"}
    beside = TREES | {"data.degrade.draws": ast.parse("import residiff.nn.unet")}
    assert set(upward(beside)) - set(upward(TREES)) == {"data.degrade.draws -> nn.unet"}


@pytest.mark.parametrize("name", CORE_MODULES)
def test_the_core_imports_torch_and_itself_alone(name):
    for raw in imported(TREES[name]):
        if (module := own(raw, TREES)) is not None:
            assert room(module) in (*CORE, "errors", "seeds"), raw
        else:
            assert raw.split(".")[0] in {"torch", *sys.stdlib_module_names}, raw


def test_torchvision_is_nowhere():
    everything = {raw.split(".")[0] for tree in TREES.values() for raw in imported(tree)}
    assert "torch" in everything
    assert "torchvision" not in everything


def test_no_module_is_named_after_nothing():
    assert [name for name in TREES if TRASH_CAN_NAMES & set(name.split("."))] == []


def dangers(tree):
    """What in a tree could run code that a file holds."""
    for raw in imported(tree):
        if raw.split(".")[0] in RUNS_CODE or raw in FORBIDDEN_CALLS:
            yield f"import {raw}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES or dotted(node) in FORBIDDEN_CALLS:
            yield dotted(node)
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            yield node.arg


@pytest.mark.parametrize("name", TREES)
def test_nothing_runs_code_from_a_file(name):
    assert sorted(dangers(TREES[name])) == EXEMPT.get(name, [])


@pytest.mark.parametrize(
    "code",
    ["torch.load(f)", "import pickle", "from pickle import loads", "yaml.load(t)", "eval(t)", "exec(t)", "np.load(p)",
     "from torch import load", "open_ = eval", "g(p, allow_pickle=True)", "torch.jit.load(p)", "import marshal"],
)  # fmt: skip
def test_the_search_for_dangers_finds_them(code):
    assert list(dangers(ast.parse(code)))


def test_the_search_for_dangers_leaves_harmless_code_alone():
    assert list(dangers(ast.parse("model.eval()\nre.compile(p)\nsafetensors.torch.load(d)\njson.load(f)"))) == []


def made_in(module, tree):
    """What a module says is public; where it does not say, what it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    names = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    module = importlib.import_module(f"residiff.{name}")
    tree = TREES.get(name) or TREES[f"{name}.__init__"]
    assert made_in(module, tree) == set(PUBLIC[name].split())
    assert all(getattr(module, word) is not None for word in PUBLIC[name].split())


@pytest.mark.parametrize("name", CORE_MODULES)
def test_every_class_of_the_core_is_abstract_or_final(name):
    module = importlib.import_module(f"residiff.{name}".removesuffix(".__init__"))
    for value in filter(inspect.isclass, vars(module).values()):
        if value.__module__ != module.__name__:
            continue
        for base in value.__bases__:
            assert not base.__module__.startswith("residiff") or inspect.isabstract(base), f"{value} extends {base}"
        assert not getattr(value, "__final__", False) or not inspect.isabstract(value)
