"""The doctor of sets agrees with the catalogue: what that opens has no errors, what it refuses has."""

import shutil

import pytest
from trees import MAKERS, PATHS, make_tree, save

from residiff.data.catalog import open_set
from residiff.data.check import Fault, Severity, Wanted, check_set
from residiff.data.settings import Pairing
from residiff.errors import ConfigError

# Layouts of which a kind must be chosen, or two may be
DOMAINS = {
    "domains": [("night",), ("day", "night")],
    "afhq": [(), ("cat",), ("dog", "cat")],
    "celeba-hq": [(), ("male", "female")],
    "lsun": [(), ("kitchen", "bedroom")],
    "raindrop": [(), ("test_b",)],
}
CASES = [(name, chosen) for name in (*PATHS, *(set(MAKERS) - set(PATHS))) for chosen in DOMAINS.get(name, [()])]


def wanted(domains):
    return Wanted(Pairing.UNPAIRED if len(domains) == 2 else Pairing.NAME, domains)


def errors(folder, layout="auto", quick=True, **options):
    report = check_set(folder, layout, quick=quick, **options)
    return [(one.fault, one.files) for one in report.findings if one.severity is Severity.ERROR]


@pytest.mark.parametrize(("layout", "domains"), sorted(CASES))
def test_every_published_layout_has_no_errors(layout, domains, tmp_path):
    if layout == "lsun":
        pytest.importorskip("lmdb")
    folder = make_tree(layout, tmp_path / "set")
    report = check_set(folder, layout, wanted(domains))
    assert [one for one in report.findings if one.severity is Severity.ERROR] == []
    for split, count in report.sheet.pairs.items():
        opened = open_set(folder, layout, split, pairing=wanted(domains).pairing, domains=domains)
        assert len(opened) == count
    assert set(report.sheet.pairs) == ({"train"} if layout == "sidd" else {"train", "test"})


def test_a_layout_that_does_not_fit_is_refused(tmp_path):
    folder = make_tree("paired", tmp_path / "set")
    for layout in ("istd", "lol-v1", "rain100l", "sid-rgb", "celeba"):
        with pytest.raises(ConfigError):
            open_set(folder, layout)
        with pytest.raises(ConfigError):
            check_set(folder, layout)


@pytest.mark.parametrize("folders", ["{kind}", "train/{kind}"])
def test_empty_folders_are_an_error_with_their_names(tmp_path, folders):
    empty = [tmp_path / folders.format(kind=kind) for kind in ("clean", "degraded")]
    for folder in empty:
        folder.mkdir(parents=True)
    assert errors(tmp_path) == [(Fault.NOTHING, tuple(map(str, empty)))]
    # What is no picture does not change that
    (empty[0] / "1.npy").write_bytes(b"array")
    assert errors(tmp_path) == [(Fault.NOTHING, tuple(map(str, empty)))]


def test_a_folder_that_is_not_there_is_told_by_its_pictures_partners(tmp_path):
    folder = make_tree("lol-v1", tmp_path / "set", pairs=2, test=2)
    shutil.rmtree(folder / "our485/low"), shutil.rmtree(folder / "eval15/high")
    assert [fault for fault, _ in errors(folder, "lol-v1")] == [Fault.MISSING] * 2 + [Fault.EXTRA] * 2


def test_pictures_with_names_that_the_catalogue_refuses_are_errors(tmp_path):
    folder = make_tree("lol-v2-real", tmp_path / "set")
    # The name of a degraded picture in the folder of the clean ones
    stray = folder / "Real_captured/Train/Normal/low00001.png"
    save(stray, 1, "clean")
    with pytest.raises(ConfigError, match="low00001"):
        open_set(folder, "lol-v2-real")
    assert errors(folder, "lol-v2-real") == [(Fault.MISNAMED, (str(stray),))]


def write_tables(folder, **splits):
    for kind in ("clean", "degraded"):
        for index in range(4):
            save(folder / "pictures" / kind / f"{index}.png", index, kind)
    for split, rows in splits.items():
        lines = [f"pictures/clean/{clean}.png,pictures/{degraded}.png" for clean, degraded in rows]
        (folder / f"{split}.csv").write_text("\n".join(["clean,degraded", *lines]))


@pytest.mark.parametrize("quick", [True, False])
def test_files_that_two_tables_list_are_leaks(tmp_path, quick):
    """Even of one colour, and however the path is written."""
    write_tables(
        tmp_path,
        train=[(0, "degraded/0"), (1, "degraded/1"), (2, "degraded/2")],
        test=[(0, "clean/../degraded/0"), (3, "degraded/2")],
    )
    names = [str(tmp_path / "pictures" / name) for name in ("clean/0.png", "degraded/0.png", "degraded/2.png")]
    assert errors(tmp_path, quick=quick) == [(Fault.LEAK, tuple(names[:2])), (Fault.LEAK, (names[2],))]


def test_a_table_to_train_on_that_is_refused_is_an_error_and_none_to_test_on_is_a_note(tmp_path):
    write_tables(tmp_path, train=[(0, "degraded/0"), (1, "degraded/1")])
    assert errors(tmp_path) == []
    write_tables(tmp_path, train=[(0, "degraded/9"), (1, "degraded/1")], test=[(2, "degraded/2")])
    assert errors(tmp_path) == [(Fault.NOT_OPENED, (str(tmp_path),))]


def test_one_pair_alone_is_a_warning(tmp_path):
    for pairs, expected in ((1, [Fault.SINGLE]), (2, [])):
        folder = make_tree("paired", tmp_path / str(pairs), pairs=pairs, test=1)
        report = check_set(folder, quick=True)
        assert [one.fault for one in report.findings] == expected
        assert all(one.severity is Severity.WARNING and "train/clean" in one.files[0] for one in report.findings)
    # Two short exposures to one long are two pairs
    assert errors(make_tree("sid-rgb", tmp_path / "sid", pairs=2), "sid-rgb") == []
    report = check_set(tmp_path / "sid", "sid-rgb", quick=True)
    assert Fault.SINGLE not in {one.fault for one in report.findings}
