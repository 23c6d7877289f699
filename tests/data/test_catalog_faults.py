"""What is wrong with a set is said before training, by name; links, cases and odd files do no harm."""

import os
import re
import sys

import pytest
from trees import encoded, make_database, make_tree, save, told

from residiff.data.catalog import databases as lmdb_parts
from residiff.data.catalog.cifar import RECORD
from residiff.data.catalog.opening import LAYOUTS, detect, open_set
from residiff.data.catalog.tree import Tree, expression
from residiff.data.settings import Pairing
from residiff.errors import ConfigError, ImageDecodeError, ImageError

RULED = [
    name for name, row in LAYOUTS.items() if hasattr(row.finders[0], "many") and not (row.own or name == "sid-rgb")
]  # fmt: skip


def files(folder):
    """The pictures of a tree for training, degraded first, by the words that their folders have."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg"))


def of_kind(folder, kind):
    return [path for path in files(folder) if told_file(path)[1:] == (kind, "train")]


def told_file(path):
    from residiff.data import images

    return told(images.read(path))


# Partners


@pytest.mark.parametrize("kind", ["clean", "degraded"])
@pytest.mark.parametrize("layout", RULED)
def test_a_missing_partner_is_named(tmp_path, layout, kind):
    folder = make_tree(layout, tmp_path / "set")
    gone = of_kind(folder, kind)[2]
    gone.unlink()
    with pytest.raises(ConfigError) as caught:
        open_set(folder, layout)
    told_place = str(caught.value).partition(": no file for ")[2]
    # A star stands for what may be called otherwise
    place = re.escape(told_place).replace(re.escape("*"), "[^/]*")
    assert re.fullmatch(place, str(gone.relative_to(folder).with_suffix(""))), told_place


@pytest.mark.parametrize("layout", RULED)
def test_two_pictures_of_one_name_are_refused(tmp_path, layout):
    folder = make_tree(layout, tmp_path / "set")
    twin = of_kind(folder, "degraded")[0]
    twin.with_suffix(".jpeg").write_bytes(twin.read_bytes())
    with pytest.raises(ConfigError, match=f"{twin.stem}.*and {twin.stem}.* have the same name; keep one of them"):
        open_set(folder, layout)


@pytest.mark.parametrize(
    ("layout", "stray"),
    [
        ("raindrop", "train/data/3.png"),
        ("raindrop", "train/gt/3_rain.png"),
        ("lol-v2-real", "Real_captured/Train/Low/normal00009.png"),
        ("rain100l", "rain_data_train_Light/rain/rain-1x3.png"),
        ("rain100h", "RainTrainH/clean-7.png"),
        ("sidd", "Data/0001_001_S6/0001_GT_RAW_010.PNG"),
        ("gopro-mprnet", "train/input/HIDE-1.png"),
    ],
)
def test_a_name_that_is_not_the_set_s_is_named(tmp_path, layout, stray):
    folder = make_tree(layout, tmp_path / "set")
    save(folder / stray, 1, "clean")
    with pytest.raises(ConfigError, match=f"{re.escape(stray)}( not named like|$)"):
        open_set(folder, layout)


def test_a_number_is_never_part_of_another(tmp_path):
    """k_rain: 1_rain and 11_rain, and what is no number, do not go together."""
    rule = expression("{k:[0-9]+}_rain")
    assert rule.fullmatch("11_rain")["k"] == "11" and not rule.fullmatch("a1_rain") and not rule.fullmatch("1_rain_2")
    folder = make_tree("raindrop", tmp_path / "set", pairs=2)
    (folder / "train/gt/1_clean.png").rename(folder / "train/gt/11_clean.png")
    with pytest.raises(ConfigError, match="no file for train/gt/1_clean, train/data/11_rain$"):
        open_set(folder)


def test_many_missing_partners_are_counted(tmp_path):
    folder = make_tree("lol-v1", tmp_path / "set", pairs=9)
    for path in (folder / "our485/low").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"no file for our485/low/1, our485/low/10, .* and 4 more$"):
        open_set(folder)


def test_a_scene_without_a_long_exposure_is_named(tmp_path):
    folder = make_tree("sid-rgb", tmp_path / "set")
    (folder / "long_sid2/00010/00010_00_10s.png").unlink()
    with pytest.raises(ConfigError, match=r"no file for long_sid2/00010/\*$"):
        open_set(folder)
    save(folder / "long_sid2/00010/a.png", 1, "clean")
    save(folder / "long_sid2/00010/b.png", 1, "clean")
    with pytest.raises(ConfigError, match=r"a.png and b.png have the same name"):
        open_set(folder)


def test_names_that_differ_in_case_are_no_pair_but_folders_and_suffixes_are(tmp_path):
    save(tmp_path / "OUR485/Low/a.PNG", 1, "degraded")
    save(tmp_path / "our485/HIGH/a.png", 1, "clean")
    assert [told(part.read())[0] for part in open_set(tmp_path).columns["degraded"]] == [1]
    save(tmp_path / "our485/HIGH/B.png", 2, "clean")
    save(tmp_path / "OUR485/Low/b.png", 2, "degraded")
    with pytest.raises(ConfigError, match="our485/high/b, our485/low/B"):
        open_set(tmp_path)


# Folders


@pytest.mark.parametrize(
    ("layout", "folder", "needed"),
    [
        ("istd", "train/train_A", "ISTD holds train/train_C/ and train/train_A/"),
        ("gopro", "train/GOPR0001_11_00/blur", ""),
        ("raindrop", "train/gt", "RainDrop holds train/gt/ and train/data/"),
    ],
)
def test_a_missing_folder_is_named(tmp_path, layout, folder, needed):
    base = make_tree(layout, tmp_path / "set", pairs=1)
    for path in (base / folder).iterdir():
        path.unlink()
    (base / folder).rmdir()
    told_folder = re.sub("GOPR[^/]*", "*", folder)
    with pytest.raises(ConfigError, match=f"no folder '{re.escape(told_folder)}'; .*{needed}"):
        open_set(base, layout)


def test_masks_that_a_set_does_not_have_are_refused(tmp_path):
    lol = make_tree("lol-v1", tmp_path / "lol")
    with pytest.raises(ConfigError, match="LOL v1 has no mask pictures"):
        open_set(lol, kinds=("clean", "degraded", "mask"))
    for path in (tmp_path / "set/clean/a.png", tmp_path / "set/degraded/a.png"):
        save(path, 1, path.parent.name)
    with pytest.raises(ConfigError, match="no folder 'mask'; a paired folder holds clean/ and degraded/ and mask/"):
        open_set(tmp_path / "set", kinds=("clean", "degraded", "mask"))


@pytest.mark.parametrize("layout", ["celeba", "lsun", "cifar-10", "afhq", "shards", "manifest", "pictures"])
def test_a_kind_that_is_not_there_is_refused(tmp_path, layout):
    with pytest.raises(ConfigError, match="no (mask pictures|column 'mask')"):
        open_set(make_tree(layout, tmp_path / "set"), layout, kinds=("clean", "mask"))


@pytest.mark.parametrize("pairing", Pairing)
def test_arrays_of_numpy_are_refused_with_the_mend(tmp_path, pairing):
    for place in ("short_sid2/00001/00001_00_0.1s.npy", "long_sid2/00001/00001_00_10s.npy"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"\x93NUMPY")
    with pytest.raises(ConfigError, match="holds no images but .npy files, which are not read; save them as PNG"):
        open_set(tmp_path, pairing=pairing)


def test_an_unpaired_list_may_not_be_empty(tmp_path):
    for kind in ("clean", "degraded"):
        (tmp_path / kind).mkdir()
    save(tmp_path / "clean/a.png", 1, "clean")
    with pytest.raises(ConfigError, match="degraded holds no images; copy them there, or give the folder"):
        open_set(tmp_path, pairing=Pairing.ORDER)
    (tmp_path / "clean/a.png").unlink()
    with pytest.raises(ConfigError, match="holds no images; copy them there"):
        open_set(tmp_path)


def test_a_set_without_test_pictures_says_so(tmp_path):
    for layout in ("domains", "pictures"):
        save(tmp_path / layout / "train/a/1.png", 1, "clean")
        with pytest.raises(ConfigError, match="no folder 'test"):
            open_set(tmp_path / layout, layout, "test")


# Names that do not exist


def test_the_nearest_domain_is_told(tmp_path):
    afhq = make_tree("afhq", tmp_path / "afhq")
    with pytest.raises(ConfigError, match="no domain 'dogs'; did you mean 'dog'?"):
        open_set(afhq, domains=("dogs",))
    with pytest.raises(ConfigError, match="no domain 'xyz'; there are cat, dog, wild"):
        open_set(afhq, domains=("cat", "xyz"), pairing=Pairing.ORDER)
    with pytest.raises(ConfigError, match="names 3; give one to generate, or two"):
        open_set(afhq, domains=("cat", "dog", "wild"))
    gopro = make_tree("gopro", tmp_path / "gopro")
    with pytest.raises(ConfigError, match="did you mean 'blur_gamma'?"):
        open_set(gopro, domains=("gamma",))
    with pytest.raises(ConfigError, match="GoPro is not translated; data.domains chooses one of blur_gamma"):
        open_set(gopro, domains=("blur_gamma", "blur_gamma"))


@pytest.mark.parametrize("layout", ["lol-v1", "celeba", "cifar-10", "manifest", "shards", "pictures"])
def test_a_set_of_one_kind_has_no_domains(tmp_path, layout):
    with pytest.raises(ConfigError, match="has no domains to choose among; leave out data.domains"):
        open_set(make_tree(layout, tmp_path / "set"), layout, domains=("cat",))


def test_an_unknown_layout_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="no layout 'xyz'; there are auto, paired, .*lol-v1"):
        open_set(tmp_path, "xyz")
    with pytest.raises(ConfigError, match="no layout 'istdd'; did you mean 'istd'.$"):
        open_set(tmp_path, "istdd")


# What a folder is


def test_what_is_no_set_is_told_with_what_it_holds(tmp_path):
    with pytest.raises(ConfigError, match=r"is empty; give the folder that the set is in, or copy the set here$"):
        detect(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "readme.txt").write_text("no picture")
    with pytest.raises(
        ConfigError, match=r"holds sub/, readme.txt\. Choose one with data.layout: paired, manifest, .*pictures$"
    ):
        detect(tmp_path)
    save(tmp_path / "sub/deeper/a.png", 1, "clean")
    with pytest.raises(ConfigError, match=r"holds sub/, readme.txt\. Pictures lie in .* choose data.layout=pictures;"):
        detect(tmp_path)
    assert len(open_set(tmp_path, "pictures")) == 1
    with pytest.raises(ConfigError, match="is not a folder"):
        detect(tmp_path / "readme.txt")
    with pytest.raises(ConfigError, match="is not a folder"):
        open_set(tmp_path / "nothing", "paired")


def test_the_set_around_or_below_is_pointed_to(tmp_path):
    folder = make_tree("lol-v1", tmp_path / "all/LOL")
    with pytest.raises(ConfigError, match=r"all/LOL is one \(lol-v1\); give that"):
        detect(tmp_path / "all")
    with pytest.raises(ConfigError, match=r"LOL is one \(lol-v1\); give that"):
        detect(folder / "our485")


def test_a_table_of_another_kind_is_no_manifest(tmp_path):
    make_tree("istd", tmp_path)
    (tmp_path / "train.csv").write_text("image,label\na.png,3\n")
    assert detect(tmp_path) == "istd"


def test_an_archive_beside_a_set_is_no_set(tmp_path):
    make_tree("cifar-10", tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"not looked into")
    assert detect(tmp_path) == "cifar-10"


def test_compressed_shards_are_told_to_be_such(tmp_path):
    (tmp_path / "set-train-000000.tar.gz").write_bytes(b"")
    assert detect(tmp_path) == "shards"
    with pytest.raises(ImageError, match="compressed"):
        open_set(tmp_path)


# Hostile folders


@pytest.mark.parametrize("layout", ["paired", "lsun", "pictures"])
def test_links_that_go_in_circles_end(tmp_path, layout):
    folder = tmp_path / "set"
    if layout == "lsun":
        save(folder / "tower_train/a/1.png", 1, "clean")
        (folder / "tower_train/a/again").symlink_to(folder / "tower_train")
        (folder / "tower_train/self").symlink_to("self")
    else:
        make_tree(layout, folder, pairs=1)
        (folder / "loop").symlink_to(folder)
        (folder / "self").symlink_to("self")
        (folder / "gone").symlink_to("nowhere")
    assert len(open_set(folder, layout)) == 1


def test_links_are_followed(tmp_path):
    make_tree("lol-v1", tmp_path / "disk")
    (tmp_path / "set").mkdir()
    for part in ("our485", "eval15"):
        (tmp_path / "set" / part).symlink_to(tmp_path / "disk" / part)
    assert len(open_set(tmp_path / "set")) == 6


def test_odd_files_are_left_out_and_broken_ones_are_told_when_read(tmp_path):
    folder = make_tree("lol-v1", tmp_path / "set", pairs=1)
    for name in (".hidden.png", "Thumbs.db", "notes.txt"):
        (folder / "our485/low" / name).write_text("nothing")
    (folder / "our485/low/folder.png").mkdir()
    (folder / "__MACOSX/our485/low").mkdir(parents=True)
    for path in ("high", "low"):
        (folder / "our485" / path / "z.png").symlink_to("nowhere.png")
    pictures = open_set(folder)
    assert len(pictures) == 2
    with pytest.raises(ImageDecodeError, match="low/z.png: there is no such file"):
        pictures.columns["degraded"][1].read()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may open everything")
def test_a_folder_that_may_not_be_opened_is_named(tmp_path):
    folder = make_tree("lol-v1", tmp_path / "set")
    (folder / "our485/low").chmod(0)
    try:
        with pytest.raises(ConfigError, match="our485/low cannot be opened .*check its permissions"):
            open_set(folder, "lol-v1")
    finally:
        (folder / "our485/low").chmod(0o755)


def test_a_folder_that_goes_away_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone cannot be opened"):
        Tree(tmp_path).files("gone")


# Files of a kind of their own


def test_cifar_for_python_is_refused_with_the_mend(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(b"\x80\x04")
    assert detect(tmp_path) == "cifar-10"
    with pytest.raises(ConfigError, match="pickles could run code.*get the binary version, cifar-10-binary.tar.gz"):
        open_set(tmp_path)


def test_faults_of_cifar_are_named(tmp_path):
    folder = make_tree("cifar-10", tmp_path / "set", pairs=2)
    batch = folder / "cifar-10-batches-bin/data_batch_3.bin"
    part = open_set(folder).columns["clean"][5]
    batch.write_bytes(batch.read_bytes()[:RECORD])
    with pytest.raises(ImageDecodeError, match="data_batch_3.bin, record 1: the file has been cut short"):
        part.read()
    batch.write_bytes(bytes(RECORD + 1))
    with pytest.raises(ConfigError, match="data_batch_3.bin is no whole number of records of 3073 bytes"):
        open_set(folder)
    batch.unlink()
    with pytest.raises(ImageDecodeError, match="record 1: cannot be read"):
        part.read()
    with pytest.raises(ConfigError, match="no file for cifar-10-batches-bin/data_batch_3.bin$"):
        open_set(folder)


def test_faults_of_celeba_are_named(tmp_path):
    folder = make_tree("celeba", tmp_path / "set")
    (folder / "img_align_celeba/000002.jpg").unlink()
    with pytest.raises(ConfigError, match="no file for img_align_celeba/000002$"):
        open_set(folder)
    table = folder / "list_eval_partition.txt"
    table.write_text("000001.jpg 0\n000002.jpg 7\n")
    with pytest.raises(ConfigError, match="list_eval_partition.txt, line 2: not a picture and 0, 1 or 2"):
        open_set(folder)
    table.unlink()
    with pytest.raises(ConfigError, match="has no list_eval_partition.txt, which says what is for training"):
        open_set(folder)


def test_a_database_needs_the_package(tmp_path, monkeypatch):
    folder = make_tree("lsun", tmp_path / "set", pairs=1, test=1)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert detect(folder) == "lsun"
    with pytest.raises(
        ConfigError, match=re.escape('bedroom_train_lmdb is an LMDB database; to read it: pip install "residiff[lmdb]"')
    ):
        open_set(folder)


def test_faults_of_databases_are_named(tmp_path):
    make_database(tmp_path / "a/tower_train_lmdb", [(b"0", b"no picture"), (b"1", encoded(1, "clean", "train", 8))])
    parts = open_set(tmp_path / "a").columns["clean"]
    with pytest.raises(ImageError, match="tower_train_lmdb/0: "):
        parts[0].read()
    with pytest.raises(ImageDecodeError, match="tower_train_lmdb/9: no longer in the database"):
        lmdb_parts.EntryPart(tmp_path / "a/tower_train_lmdb", b"9", 0).read()
    make_database(tmp_path / "b/tower_train_lmdb", [])
    with pytest.raises(ConfigError, match="tower_train_lmdb holds no images"):
        open_set(tmp_path / "b")
    (tmp_path / "c/tower_train_lmdb").mkdir(parents=True)
    (tmp_path / "c/tower_train_lmdb/data.mdb").write_bytes(b"rubbish" * 2000)
    with pytest.raises(ConfigError, match="tower_train_lmdb is no LMDB database that can be opened"):
        open_set(tmp_path / "c")
    make_database(tmp_path / "ffhq", [(b"face", b"")])
    with pytest.raises(ConfigError, match="keys are not like 256-00000"):
        open_set(tmp_path / "ffhq")


def test_a_database_alone_is_looked_for_around_it(tmp_path):
    make_database(tmp_path / "lsun/tower_train_lmdb", [(b"0", b"")])
    with pytest.raises(ConfigError, match=r"lsun is one \(lsun\); give that"):
        detect(tmp_path / "lsun/tower_train_lmdb")
