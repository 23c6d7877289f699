"""What becomes which: refused before the first write if two would meet, or one would leave its folder."""

import pytest

from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError
from residiff.restore import Job, Options, Shard, plan, survey


@pytest.fixture
def tree(tmp_path):
    """Makes files with a few bytes each, which are enough for a plan: `tree("in/a.png", ...)`."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"bytes of " + name.encode())
        return tmp_path

    return make


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def targets(jobs, folder):
    return sorted(str(job.target.relative_to(folder)) for job in jobs)


def test_a_folder_keeps_its_shape(tree):
    root = tree(
        "in/a.png", "in/b.JPG", "in/sub/a.png", "in/sub/deep/c.webp", "in/.DS_Store", "in/notes.txt", "in/.x/d.png"
    )
    everything = plan([root / "in"], root / "out", Options(), recursive=True)
    assert targets(everything, root / "out") == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.webp"]
    assert targets(plan([root / "in"], root / "out", Options()), root / "out") == ["a.png", "b.JPG"]
    assert {job.source for job in everything} == {path for path in images.list_images(root / "in", recursive=True)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), ["a.png", "b.jpg", "c.tiff", "d.png"]),
        (Options(suffix="_x"), ["a_x.png", "b_x.jpg", "c_x.tiff", "d_x.png"]),
        (Options(format=Format.PNG), ["a.png", "b.png", "c.png", "d.png"]),
        (Options(format=Format.JPEG, suffix="."), ["a..jpeg", "b..jpeg", "c..jpeg", "d..jpeg"]),
    ],
)
def test_names(tree, options, expected):
    root = tree("in/a.png", "in/b.jpg", "in/c.tiff", "in/d.gif")
    assert targets(plan([root / "in"], root / "out", options), root / "out") == expected


def test_files_go_into_a_folder_and_one_file_to_its_name(tree):
    root = tree("in/a.png", "in/b.png")
    a, b = root / "in/a.png", root / "in/b.png"
    assert targets(plan([a, b], root / "out", Options()), root / "out") == ["a.png", "b.png"]
    assert plan([a], root / "new.jpg", Options()) == [Job(a, root / "new.jpg")]
    (root / "old.png").mkdir()
    assert plan([a], root / "old.png", Options()) == [Job(a, root / "old.png/a.png")]


COLLISIONS = {
    "two formats": (["in/a.png", "in/a.gif"], ["in"], "out", Options()),
    "one format for all": (["in/a.png", "in/a.jpg"], ["in"], "out", Options(format=Format.WEBP)),
    "case": (["in/A.png", "in/a.png"], ["in"], "out", Options()),
    "case of a suffix": (["in/a.png", "in/a.PNG"], ["in"], "out", Options()),
    "case of a folder": (["in/X/a.png", "in/x/a.png"], ["in"], "out", Options()),
    "two spellings of one letter": (["in/\u00e9.png", "in/e\u0301.png"], ["in"], "out", Options()),
    "two folders": (["in/a.png", "other/a.png"], ["in", "other"], "out", Options()),
    "two files": (["in/a.png", "other/a.png"], ["in/a.png", "other/a.png"], "out", Options()),
    "a file twice": (["in/a.png"], ["in/a.png", "in/a.png"], "out", Options()),
    "a file and its folder": (["in/a.png"], ["in", "in/a.png"], "out", Options()),
    "output is input": (["in/a.png"], ["in"], "in", Options()),
    "output is input, deep": (["in/x/a.png"], ["in"], "in", Options()),
    "output is input by another way": (["in/a.png"], ["in"], "in/../in", Options()),
    "output is input by a link": (["in/a.png"], ["in"], "link", Options()),
    "a file onto itself": (["in/a.png"], ["in/a.png"], "in/a.png", Options()),
    "a file onto another": (["in/a.png", "b.png"], ["in/a.png", "b.png"], "in", Options()),
    "three formats": (["in/a.tif", "in/a.tiff", "in/a.webp"], ["in"], "out", Options(format=Format.TIFF)),
    "a suffix on the way": (["in/a.png", "in/a.gif"], ["in"], "out", Options(suffix="_x")),
    "a file by two ways": (["in/a.png"], ["in/a.png", "link/a.png"], "out", Options()),
    "a suffix that meets": (["in/a.png", "in/a_x.png"], ["in"], "in", Options(suffix="_x")),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_what_would_meet_is_refused_before_the_first_write(tree, name):
    made, sources, output, options = COLLISIONS[name]
    root = tree(*made)
    (root / "link").symlink_to(root / "in")
    before = files_in(root)
    with pytest.raises(ConfigError, match="would both become|would be written over"):
        plan([root / source for source in sources], root / output, options, recursive=True)
    assert files_in(root) == before and not (root / "out").exists()


def test_a_mask_is_not_written_over(tree):
    root = tree("in/a.png", "masks/a.png")
    with pytest.raises(ConfigError, match="would be written over"):
        plan([root / "in"], root / "masks", Options(), root / "masks")


def test_an_output_inside_the_input_is_no_input_of_the_next_run(tree):
    root = tree("in/a.png", "in/sub/b.png", "in/out/a.png", "in/out/sub/b.png", "in/outer/c.png")
    jobs = plan([root / "in"], root / "in/out", Options(), recursive=True)
    assert targets(jobs, root / "in/out") == ["a.png", "outer/c.png", "sub/b.png"]


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["inn"], "out", "inn does not exist; did you mean .*in"),
        (["in/aa.png"], "out", "aa.png does not exist; did you mean .*a.png"),
        (["zzz"], "out", "zzz does not exist; look at the path"),
        (["empty"], "out", "no pictures found in .*empty"),
        (["deep"], "out", "add --recursive"),
        (["in"], "out.png", "out.png is the name of one picture"),
        (["in/a.png", "in/b.png"], "out.png", "out.png is the name of one picture"),
        (["in/a.png"], "out.gif", "cannot write .*out.gif: name a folder, or a picture ending in .avif"),
        (["in/a.png", "in/b.png"], "notes.txt", "cannot write .*notes.txt"),
    ],
)
def test_paths_that_cannot_be_are_named(tree, sources, output, message):
    root = tree("in/a.png", "in/b.png", "deep/er/c.png", "notes.txt")
    (root / "empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        plan([root / source for source in sources], root / output, Options())


@pytest.mark.parametrize("options", [Options(suffix="_x"), Options(format=Format.JPEG)])
def test_a_name_that_contradicts_the_options_is_refused(tree, options):
    root = tree("a.png")
    with pytest.raises(ConfigError, match="leave out --suffix and --format"):
        plan([root / "a.png"], root / "b.png", options)
    assert plan([root / "a.png"], root / "b.jpg", Options(format=Format.JPEG))


def test_masks_are_found_by_place_and_name(tree):
    root = tree("in/1.jpg", "in/2.png", "in/sub/1.jpg", "masks/1.png", "masks/2.gif", "masks/sub/1.png", "masks/9.png")
    jobs = plan([root / "in"], root / "out", Options(), root / "masks", recursive=True)
    found = {str(job.source.relative_to(root)): str(job.mask.relative_to(root)) for job in jobs}
    assert found == {"in/1.jpg": "masks/1.png", "in/2.png": "masks/2.gif", "in/sub/1.jpg": "masks/sub/1.png"}
    (one, *_) = plan([root / "in"], root / "out", Options(), root / "masks/9.png")
    assert one.mask == root / "masks/9.png"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (["masks/2.png"], "holds 0 masks for 1.png; one called 1 is needed"),
        (["masks/1.png", "masks/1.jpg"], "holds 2 masks for 1.png"),
        (["mosks/1.png"], "the mask .*masks does not exist; did you mean .*mosks"),
    ],
)
def test_masks_that_do_not_match_are_named(tree, made, message):
    root = tree("in/1.png", *made)
    with pytest.raises(ConfigError, match=message):
        plan([root / "in"], root / "out", Options(), root / "masks")


def test_there_are_enough_layouts():
    assert len(COLLISIONS) >= 20


# ---------------------------------------------------------------- nothing leaves its folder

OUTSIDE = [
    *(up + name for up in ("../", "../../", "a/../../", "/", "//", "./", "\\", "..\\") for name in ("", "x", "x/y")),
    "C:\\x", "/etc/x", "x/", "\0", "x\0.png", "../\0", "~/x", "x\\y",
]  # fmt: skip
LINKS = {
    "to a folder beside": ("out/sub", "elsewhere"),
    "to the folder above": ("out/sub", "."),
    "to the sources": ("out/sub", "in"),
    "to the root": ("out/sub", "/"),
    "to a folder that is not there": ("out/sub", "nowhere"),
    "deeper": ("out/sub/deep", "elsewhere"),
    "by a link": ("out/sub", "link"),
    "to a folder whose name begins as ours": ("out/sub", "outer"),
}


@pytest.mark.parametrize("suffix", OUTSIDE)
def test_a_suffix_leads_nowhere(suffix):
    with pytest.raises(ConfigError, match="no slashes"):
        Options.checked(**GOOD | {"suffix": suffix})


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_the_output_does_not_lead_out_of_it(tree, name):
    place, target = LINKS[name]
    root = tree("in/a.png", "in/sub/a.png", "in/sub/deep/a.png", "elsewhere/x.txt", "outer/x.txt")
    (root / place).parent.mkdir(parents=True)
    (root / "link").symlink_to(root / "elsewhere")
    (root / place).symlink_to(root / target)
    before = files_in(root)
    with pytest.raises(ConfigError, match="leads out of .*out|written over a picture"):
        plan([root / "in"], root / "out", Options(), recursive=True)
    assert files_in(root) == before
    assert len(OUTSIDE) + len(LINKS) >= 40


def test_links_that_lead_no_further_are_followed(tree):
    root = tree("in/a.png", "in/sub/a.png", "out/other/x.txt", "elsewhere/x.txt")
    (root / "out/sub").symlink_to(root / "out/other")
    (root / "out/a.png").symlink_to(root / "elsewhere/x.txt")  # a rename takes the place of the link
    (root / "in/x..png").symlink_to(root / "in/a.png")
    jobs = plan([root / "in"], root / "out", Options(), recursive=True)
    assert targets(jobs, root / "out") == ["a.png", "sub/a.png", "x..png"]
    (root / "there").symlink_to(root / "elsewhere")  # an output that is a link is what was asked for
    assert len(plan([root / "in"], root / "there", Options(), recursive=True)) == 3


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_disjoint_and_complete_and_stay_so(tree, count):
    names = [f"in/{folder}{number}.png" for folder in ("", "x/", "x/y/") for number in range(40)]
    root = tree(*names)

    def parts():
        return [
            {
                job.source
                for job in plan([root / "in"], root / "out", Options(), recursive=True, shard=Shard(index, count))
            }
            for index in range(1, count + 1)
        ]

    before = parts()
    assert sum(map(len, before)) == 120 and len(set().union(*before)) == 120
    assert min(map(len, before)) > 120 / count / 3
    tree("in/new.png", "in/x/new.png")
    for number in range(0, 40, 2):
        (root / f"in/{number}.png").unlink()
    there = {path for path in images.list_images(root / "in", recursive=True)}
    for old, new in zip(before, parts(), strict=True):  # what comes and goes moves nothing
        assert {path for path in new if path.stem != "new"} == old & there


def test_a_shard_depends_on_the_place_in_the_output_alone(tree):
    root = tree(*(f"{where}/{number}.png" for where in ("in", "mounted/elsewhere") for number in range(30)))
    first, second = (
        [job.source.name for job in plan([root / where], root / out, Options(), shard=Shard(1, 3))]
        for where, out in (("in", "out"), ("mounted/elsewhere", "other/out"))
    )
    assert first == second and 0 < len(first) < 30


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "1/", "a/b", "1/3/5", "-1/3", "1.0/3", "", "1/9999999"])
def test_shards_that_cannot_be(text):
    with pytest.raises(ConfigError, match=r"shard is .*; (give which|allowed are)"):
        Shard.of(text)
    assert Shard.of("2/3") == Shard(2, 3) and Shard(2, 3).label == "2-of-3"


# ---------------------------------------------------------------- surveys


def test_a_survey_leaves_out_what_cannot_be_done(tree):
    root = tree("in/a.png", "in/b.png", "in/b.jpg", "in/c.png", "masks/a.png", "masks/b.png")
    jobs, refused = survey([root / "in"], root / "out", Options(format=Format.PNG), root / "masks")
    assert [job.source.name for job in jobs] == ["a.png", "b.jpg"]
    assert {str(each.job.source.name): str(each.error) for each in refused} == {
        "b.png": f"{root}/in/b.jpg and {root}/in/b.png would both become {root}/out/b.png; rename one",
        "c.png": f"{root}/masks holds 0 masks for c.png; one called c is needed",
    }
    assert survey([root / "masks"], root / "out", Options()) == (
        [Job(root / f"masks/{name}.png", root / f"out/{name}.png") for name in "ab"],
        [],
    )
    (root / "none").mkdir()
    assert survey([root / "none"], root / "out", Options()) == ([], [])


# ---------------------------------------------------------------- options

GOOD = {
    "steps": None, "seed": 0, "strength": 1.0, "format": None, "quality": 95, "bit_depth": None, "suffix": "",
    "max_pixels": 100,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": 2.0}, "strength is 2.0; allowed are 0 to 1"),
        ({"quality": 0}, "quality is 0; allowed are 1 to 100"),
        ({"max_pixels": 0}, "max-pixels is 0"),
        ({"seed": -1}, "seed is -1; allowed are 0 to"),
        ({"bit_depth": 12}, "bit-depth is 12; allowed are 8 and 16"),
        ({"suffix": "../x"}, "suffix is '../x'"),
        ({"suffix": "x\\y"}, "no slashes"),
        ({"format": "gif"}, "format is 'gif'; allowed are avif, bmp, jpeg, jpg, png, tif, tiff, webp"),
        ({"format": "../png"}, "format is '../png'"),
    ],
)
def test_options_out_of_range_are_named(wrong, message):
    assert Options.checked(**GOOD) == Options(max_pixels=100)
    with pytest.raises(ConfigError, match=message):
        Options.checked(**GOOD | wrong)


def test_options_as_a_user_words_them():
    assert Options.checked(**GOOD | {"format": "JPG"}).format is Format.JPEG
    assert Options.checked(**GOOD | {"format": "tif", "bit_depth": 16}).bit_depth == 16
