"""Trackers and strips: what TensorBoard reads back is what was told, each step once, and strips hold every pixel."""

import itertools
import math

import pytest
import torch
from runs import TINY, held_out, pairs, same_files
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from residiff.data import images
from residiff.errors import ConfigError, ResourceError
from residiff.recipe import override
from residiff.train import Run
from residiff.train.strips import GAP, column_count, headings, strip
from residiff.train.trackers import TensorBoardTracker


def told(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def scalars(folder, name):
    return [(event.step, event.value) for event in told(folder).Scalars(name)]


def write(folder, steps, after=0, shift=0.0):
    tracker = TensorBoardTracker(folder, after)
    for step in steps:
        tracker.figures(step, {"training/loss": 1 / step + shift, "training/rate": 0.5})
    return tracker


def test_figures_are_read_back(tmp_path):
    write(tmp_path / "new" / "tb", range(1, 6)).close()
    assert scalars(tmp_path / "new" / "tb", "training/loss") == [(k, pytest.approx(1 / k)) for k in range(1, 6)]
    assert scalars(tmp_path / "new" / "tb", "training/rate") == [(k, 0.5) for k in range(1, 6)]


@pytest.mark.parametrize("after", [0, 3])
def test_a_continued_run_shows_each_step_once(tmp_path, monkeypatch, after):
    """Steps beyond the state that a run continues from are told twice; TensorBoard shows the later ones alone."""
    # The files are read in the order of their names, which begin with the second
    seconds = itertools.count(1_800_000_000)
    monkeypatch.setattr("time.time", lambda: float(next(seconds)))
    write(tmp_path, range(1, 6)).close()
    write(tmp_path, range(after + 1, 8), after, shift=10.0).close()
    found = scalars(tmp_path, "training/loss")
    assert [step for step, _ in found] == list(range(1, 8))
    assert [value > 5 for _, value in found] == [step > after for step in range(1, 8)]


def test_figures_that_are_not_finite_are_told_as_they_are(tmp_path):
    tracker = TensorBoardTracker(tmp_path)
    tracker.figures(1, {"loss": math.nan})
    tracker.close()
    assert math.isnan(scalars(tmp_path, "loss")[0][1])


def test_pictures_are_read_back_clipped_to_what_can_be_seen(tmp_path):
    picture = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0)) * 1.5 - 0.2
    tracker = TensorBoardTracker(tmp_path)
    tracker.picture(4, "validation", picture.requires_grad_())
    tracker.close()
    tracker.close()
    (event,) = told(tmp_path).Images("validation")
    shown = images.read(event.encoded_image_string).pixels
    assert (event.step, shown.shape) == (4, (3, 5, 7))
    assert (shown - picture.clamp(0, 1)).abs().max() <= 1 / 255


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        TensorBoardTracker(tmp_path / "file" / "tb")


# ---------------------------------------------------------------- one that can be told no more


class Kept:
    """A tracker that keeps what it is told, until it is told of the update `until`, and raises `error` then."""

    def __init__(self, until=None, error=None):
        self.until, self.error, self.steps, self.closed = until, error, [], 0

    def figures(self, step, values):
        if step == self.until:
            raise self.error
        self.steps.append((step, *sorted(values)))

    def picture(self, step, name, image):
        self.figures(step, {name: 0})

    def close(self):
        self.closed += 1


def on_full_disk(folder):
    """A tracker whose file takes what it is given, and has no room for it."""
    tracker = TensorBoardTracker(folder)
    tracker._file.close()
    tracker._file = open("/dev/full", "wb")  # noqa: SIM115
    tracker._writer = RecordWriter(tracker._file)
    return tracker


def test_a_full_disk_is_said_and_closed_for_good(tmp_path):
    tracker = on_full_disk(tmp_path / "tb")
    with pytest.raises(ResourceError, match="cannot write .*tb: the disk is full: free some space"):
        tracker.figures(1, {"loss": 0.5})
    with pytest.raises(ResourceError, match="disk is full"):
        tracker.close()
    tracker.close()


def test_a_run_goes_on_without_a_tracker_that_fails(tmp_path, caplog):
    recipe = override(TINY, ["training.iterations=21", "training.save_seconds=100", "validation.every=20"])
    list(Run(recipe, tmp_path / "plain").train(pairs(recipe), held_out=held_out()))
    told, lost = Kept(), Kept(20, ConnectionError("the service is gone"))
    run = Run(recipe, tmp_path / "told")
    trackers = [lost, on_full_disk(tmp_path / "tb"), told]
    list(run.train(pairs(recipe), held_out=held_out(), trackers=trackers))
    assert [step for step, *_ in lost.steps] == [1, 10]
    assert [step for step, *_ in told.steps] == [1, 10, 20, 20, 20, 21, 21], "figures, validations and strips"
    assert (lost.closed, told.closed) == (1, 0)
    assert same_files(tmp_path / "plain", tmp_path / "told")
    texts = run.log.events("tracker")
    assert len(texts) == 2 and all(text in caplog.text for text in texts)
    assert "TensorBoardTracker is told no more: cannot write" in texts[0] and "the disk is full" in texts[0]
    assert texts[1] == "Kept is told no more: the service is gone"


def test_a_fault_of_a_tracker_itself_is_not_hidden(tmp_path):
    with pytest.raises(KeyError):
        list(Run(TINY, tmp_path).train(pairs(), trackers=[Kept(1, KeyError("x"))]))


def test_nothing_is_loaded_before_it_is_needed(python, tmp_path):
    script = "import sys, residiff.train.trackers; sys.exit('tensorboard' in sys.modules)"
    assert python(script).returncode == 0
    script = "from residiff.train.trackers import TensorBoardTracker as T; import sys, pathlib; t = "
    script += "T(pathlib.Path(sys.argv[1])); t.figures(1, {'a': 1.0}); t.close()"  # warnings are errors there
    assert python(script, tmp_path).stderr == ""


# ---------------------------------------------------------------- strips


def test_a_strip_holds_every_picture_in_its_place():
    columns = [torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(k)) for k in range(6)]
    sheet = strip(columns)
    assert (sheet.shape, sheet.dtype) == ((3, 3 * (4 + GAP) - GAP, 6 * (5 + GAP) - GAP), torch.float32)
    seen = torch.zeros_like(sheet, dtype=torch.bool)
    for column, row in itertools.product(range(6), range(3)):
        place = (..., slice(row * (4 + GAP), row * (4 + GAP) + 4), slice(column * (5 + GAP), column * (5 + GAP) + 5))
        assert torch.equal(sheet[place], columns[column][row])
        seen[place] = True
    assert (sheet[~seen] == 1).all() and not seen.all()


def test_what_is_out_of_range_is_clipped():
    sheet = strip([torch.tensor([-1.0, 0.5, 2.0]).view(1, 3, 1, 1)])
    assert sheet.flatten().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5)],
        [torch.zeros(1, 1, 4, 4)],
        [torch.zeros(3, 4, 4)],
        [torch.zeros(0, 3, 4, 4)],
    ],
    ids=["none", "unequal", "grey", "no-batch", "empty"],
)
def test_columns_that_make_no_strip_are_refused(columns):
    with pytest.raises(ConfigError, match="one shape"):
        strip(columns)


def test_the_columns_of_a_strip_are_known_from_its_width():
    for count in range(1, 9):
        assert column_count(strip([torch.zeros(2, 3, 4, 6)] * count).shape[2], 6) == count
    assert column_count(7, 6) is None
    assert column_count(5, 48) is None


def test_headings():
    assert headings(5, truth=True) == ["input", "start", "on the way", "result", "truth"]
    assert headings(3, truth=False) == ["input", "start", "result"]
    assert headings(2, truth=False) == ["input", "result"]
    for count, truth in itertools.product(range(3, 9), (False, True)):
        assert len(headings(count, truth=truth)) == count
