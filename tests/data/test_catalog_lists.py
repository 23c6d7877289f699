"""Sets that are listed in tables, and lists of paths that become one."""

import pytest
from trees import make_tree, save, told

from residiff.data.catalog.lists import import_lists, parse_root
from residiff.data.catalog.opening import detect, open_set
from residiff.data.settings import Pairing
from residiff.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    return make_tree("manifest", tmp_path / "set")


def shown(folder, kind, split="train"):
    return [told(part.read())[:2] for part in open_set(folder, split=split).columns[kind]]


# Manifests


def test_a_row_belongs_together_whatever_its_names(folder):
    assert shown(folder, "clean") == [(index, "clean") for index in range(6)]
    assert shown(folder, "degraded", "test") == [(index, "degraded") for index in range(3)]
    assert tuple(open_set(folder).columns) == ("clean", "degraded")
    assert open_set(folder, pairing=Pairing.UNPAIRED, kinds=("degraded", "clean")).source == "folder set, 6 pairs"


def test_tables_of_spreadsheets_are_read(folder):
    """With a mark of the encoding, capital letters, other ends of lines, and names in quotes."""
    save(folder / "a, b.png", 5, "clean")
    (folder / "train.csv").write_bytes(b'\xef\xbb\xbfClean, mask\r\n"a, b.png",good/train1.png\r\n\r\n')
    assert shown(folder, "clean") == [(5, "clean")] and shown(folder, "mask") == [(1, "clean")]


def test_one_degraded_picture_may_go_with_several(folder):
    (folder / "train.csv").write_text(
        "clean,degraded\ngood/train0.png,bad/train99.png\ngood/train1.png,bad/train99.png\n"
    )
    assert shown(folder, "degraded") == [(0, "degraded")] * 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("clean,degraded\ngood/train0.png\n", "train.csv, row 2: 2 paths are needed, clean,degraded"),
        ("clean,degraded\n\ngood/train0.png,\n", "train.csv, row 3: 2 paths are needed"),
        ("clean\ngood/train0.png,bad/train99.png\n", "train.csv, row 2: 1 paths"),
        ("clean,input\na,b\n", "begins with 'clean,input'; its columns are clean and maybe degraded and mask"),
        ("clean,clean\na,b\n", "begins with 'clean,clean'"),
        ("degraded\na\n", "begins with 'degraded'"),
        ("", "begins with ''"),
        ("clean\n", "train.csv holds no images"),
        ("clean\ngood/train0.png\nno/a.png\nno/b.png\n", "no file for no/a.png, no/b.png$"),
        ('clean\n"a\n', "is no table in CSV and UTF-8"),
        ("clean\n\udce4.png\n", "is no table in CSV and UTF-8"),
    ],
)
def test_faults_of_a_manifest_are_named(folder, table, message):
    (folder / "train.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        open_set(folder, "manifest")


def test_a_split_that_is_not_listed_is_told(folder):
    (folder / "test.csv").unlink()
    assert detect(folder) == "manifest"
    with pytest.raises(ConfigError, match="has no test.csv, which would list the test pictures"):
        open_set(folder, split="test")


# Lists of paths


@pytest.fixture
def lists(tmp_path):
    """`lists(clean, degraded)`: two files of the paths, which are made."""

    def write(**names):
        made = {}
        for kind, paths in names.items():
            for index, path in enumerate(paths):
                save(tmp_path / path, index, kind, size=8)
            made[kind] = tmp_path / f"{kind}.flist"
            made[kind].write_text("".join(f"{tmp_path / path}\n" for path in paths))
        return made

    return write


def test_lists_of_equal_names_are_matched_by_them(tmp_path, lists):
    names = "edabfc"
    made = lists(**{kind: [f"lists/{kind}/{name}.png" for name in names] for kind in ("clean", "degraded", "mask")})
    degraded = made["degraded"].read_text().splitlines()
    made["degraded"].write_text("\n".join(reversed(degraded)))
    assert import_lists(made, tmp_path) == 6
    rows = [",".join(f"lists/{kind}/{name}.png" for kind in made) for name in sorted(names)]
    assert (tmp_path / "train.csv").read_text() == "\n".join(["clean,degraded,mask", *rows, ""])
    for kind in ("clean", "degraded"):
        assert shown(tmp_path, kind) == [(names.index(name), kind) for name in sorted(names)]


def test_lists_may_go_together_line_by_line(tmp_path, lists):
    made = lists(clean=["gt/1_clean.png", "gt/0_clean.png"], degraded=["in/1_rain.png", "in/0_rain.png"])
    with pytest.raises(ConfigError, match="no file for clean 0_rain, clean 1_rain, .*say --by line"):
        import_lists(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert import_lists(made, tmp_path / "out", "test", "line") == 2
    pictures = open_set(tmp_path / "out", split="test")
    assert [told(part.read())[0] for part in pictures.columns["degraded"]] == [0, 1]
    assert str(tmp_path) in (tmp_path / "out/test.csv").read_text(), "what lies elsewhere is told in full"


def test_names_that_come_twice_are_no_keys(tmp_path, lists):
    made = lists(clean=["a/1.png", "b/1.png"], degraded=["c/1.png", "d/1.png"])
    with pytest.raises(ConfigError, match="some names come twice; .*say --by line"):
        import_lists(made, tmp_path)
    assert import_lists(made, tmp_path, by="line") == 2


def test_a_list_of_clean_pictures_is_enough(tmp_path, lists):
    assert import_lists({**lists(clean=["a.png"]), "degraded": None}, tmp_path) == 1
    assert tuple(open_set(tmp_path).columns) == ("clean",)


def test_paths_are_of_the_list_s_folder_where_they_are_not_whole(tmp_path, monkeypatch):
    save(tmp_path / "sets/in/a.png", 3, "clean")
    (tmp_path / "sets/gt.flist").write_text("\ufeffin/a.png\r\n\n")
    monkeypatch.chdir(tmp_path)
    import_lists({"clean": tmp_path / "sets/gt.flist"}, tmp_path / "sets")
    assert (tmp_path / "sets/train.csv").read_text() == "clean\nin/a.png\n"


@pytest.mark.parametrize("line", ["/home/them/data/in/a.png", r"D:\data\in\a.png"])
def test_paths_of_another_machine_are_moved(tmp_path, line):
    save(tmp_path / "mine/in/a.png", 3, "clean")
    (tmp_path / "gt.flist").write_text(f"{line}\n")
    old = line.replace("\\", "/").removesuffix("/in/a.png").replace("/", line[2] if line[0] == "D" else "/")
    with pytest.raises(ConfigError, match="no file for .*a.png; say where they are now with --root OLD=NEW"):
        import_lists({"clean": tmp_path / "gt.flist"}, tmp_path)
    import_lists({"clean": tmp_path / "gt.flist"}, tmp_path, root=parse_root(f"{old}={tmp_path}/mine"))
    assert shown(tmp_path, "clean") == [(3, "clean")]


def test_a_root_is_whole_folders(tmp_path):
    save(tmp_path / "data2/a.png", 3, "clean")
    (tmp_path / "gt.flist").write_text(f"{tmp_path}/data2/a.png\n")
    assert import_lists({"clean": tmp_path / "gt.flist"}, tmp_path, root=(f"{tmp_path}/data", "/nowhere")) == 1


def test_faults_of_lists_are_named(tmp_path, lists):
    made = lists(clean=["a.png", "b.png"], degraded=["c.png"])
    with pytest.raises(ConfigError, match="clean.flist has 2, .*degraded.flist has 1; make them equal"):
        import_lists(made, tmp_path, by="line")
    with pytest.raises(ConfigError, match="a list of clean pictures is needed"):
        import_lists({"degraded": made["degraded"]}, tmp_path)
    with pytest.raises(ConfigError, match="nothing.flist is no list of paths that can be read"):
        import_lists({"clean": tmp_path / "nothing.flist"}, tmp_path)
    made["clean"].write_text("\n")
    with pytest.raises(ConfigError, match="clean.flist lists no pictures"):
        import_lists(made, tmp_path)
    assert not (tmp_path / "train.csv").exists()


@pytest.mark.parametrize(("setting", "root"), [("", None), ("/a=/b", ("/a", "/b"))])
def test_roots_are_read(setting, root):
    assert parse_root(setting) == root


@pytest.mark.parametrize("setting", ["a", "=b", "a="])
def test_roots_that_are_none_are_refused(setting):
    with pytest.raises(ConfigError, match="is not OLD=NEW"):
        parse_root(setting)
