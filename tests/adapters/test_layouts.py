"""RDDM's and Resfusion's files: whole, with names missing, added or of another shape, averaged or not: 40 cases."""

import pytest
import torch
from foreign import SMALL_DIT, ddim, dit, lightning, one, rddm_keys, shared, trainers, two, weights

from residiff.adapters import ImportOptions, KeysError, import_model
from residiff.errors import ConfigError
from residiff.nn.dit import SIZES

pytestmark = pytest.mark.usefixtures("reader_here")


class Rddm:
    """A `model-<k>.pt` with plain weights of seed 0 and averaged ones of seed 1."""

    options = ImportOptions()

    def __init__(self, network, channels, prefix):
        self.network, self.channels, self.prefix = (lambda: network(channels)), channels, prefix
        self.lone = prefix == "model.unet0."

    def write(self, path, change=lambda table: None, averaged=True):
        tables = [rddm_keys(weights(self.network, seed), self.lone) for seed in (0, 1)]
        change(tables[1] if averaged else tables[0])
        torch.save(trainers(tables[0], tables[1] if averaged else None), path)

    def expected(self, averaged):
        return weights(self.network, 1 if averaged else 0)


class Resfusion:
    """A Lightning `.ckpt`, whose averaged weights are a file of their own."""

    options = ImportOptions(length=12)
    prefix = "denoising_module."

    def __init__(self, network, channels):
        self.network, self.channels = (lambda: network(channels)), channels

    def write(self, path, change=lambda table: None, averaged=True):
        held = lightning(weights(self.network))
        change(held["state_dict"])
        torch.save(held, path)

    def expected(self, averaged):
        return weights(self.network)


# What is changed in each file: one weight of the network is missing, added, cut
LAYOUTS = {
    "rddm one": (Rddm(one, 6, "model.unet0."), "downs.0.1.block2.proj.weight"),
    "rddm two": (Rddm(two, 6, "model."), "unet1.ups.1.3.bias"),
    "rddm shared": (Rddm(shared, 6, "model."), "ups_no_skip.0.0.mlp.1.weight"),
    "rddm masked": (Rddm(one, 9, "model.unet0."), "init_conv.weight"),
    "rddm unseen": (Rddm(two, 3, "model."), "unet0.time_mlp.1.weight"),
    "resfusion": (Resfusion(one, 6), "mid_attn.fn.fn.to_qkv.weight"),
    "resfusion masked": (Resfusion(one, 8), "final_conv.bias"),
    "resfusion generation": (Resfusion(ddim, 3), "down.1.attn.0.q.weight"),
}
MASKS = {9: "rgb", 8: "one-hot"}


SLOW = ("rddm two", "rddm shared", "rddm masked", "rddm unseen", "resfusion masked")


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in LAYOUTS])
def case(request, tmp_path):
    layout, key = LAYOUTS[request.param]
    return layout, layout.prefix + key, tmp_path / "model-7.pt"


def difference(layout, model, table):
    """Largest difference between the outputs of the imported network and those of one loaded directly."""
    network = layout.network()
    network.load_state_dict(table)
    network.eval()
    x = torch.randn(2, layout.channels, 16, 16, generator=torch.Generator().manual_seed(5))
    times = (torch.tensor([3.0, 70.0]),) * network.heads
    with torch.inference_mode():
        pairs = zip(model.denoiser().backbone(x, times), network(x, times), strict=True)
        return max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs)


def refused(layout, path):
    with pytest.raises(KeysError) as caught:
        import_model(path, layout.options)
    assert str(path) in str(caught.value) and caught.value.exit_code == 4
    return caught.value.report


def test_a_whole_file_gives_its_network(case):
    layout, _, path = case
    layout.write(path)
    model = import_model(path, layout.options)
    assert difference(layout, model, layout.expected(True)) <= 1e-6
    network = model.recipe.network
    assert model.recipe.name == "model-7"
    assert network.shows_input == (layout.channels > 3)
    assert network.mask == (layout.channels in MASKS)
    assert network.mask_form == MASKS.get(layout.channels, "signed")


def test_plain_weights_are_taken_where_wanted_or_alone(case):
    layout, _, path = case
    layout.write(path, averaged=False)
    model = import_model(path, layout.options)
    assert difference(layout, model, layout.expected(False)) <= 1e-6
    assert model.card["weights"] == "plain"
    with pytest.raises(ConfigError, match="no ema weights"):
        import_model(path, ImportOptions(length=layout.options.length, weights="ema"))


def test_a_missing_weight_is_named(case):
    layout, key, path = case
    layout.write(path, lambda table: table.pop(key))
    report = refused(layout, path)
    assert (report.missing, report.unexpected, report.mismatched) == ((key,), (), ())


def test_a_weight_too_many_is_named(case):
    layout, _, path = case
    layout.write(
        path, lambda table: table.update({layout.prefix + "downs.7.0.weight": torch.ones(2), "loss.w": torch.ones(1)})
    )
    report = refused(layout, path)
    assert report.unexpected == tuple(sorted([layout.prefix + "downs.7.0.weight", "loss.w"]))
    assert (report.missing, report.mismatched) == ((), ())


def test_a_weight_of_another_shape_is_named_with_both(case):
    layout, key, path = case
    whole = {}

    def change(table):
        whole[key] = tuple(table[key].shape)
        table[key] = torch.cat([table[key]] * 2, dim=-1)

    layout.write(path, change)
    report = refused(layout, path)
    ((name, given, needed),) = report.mismatched
    assert (name, needed, given) == (key, whole[key], (*whole[key][:-1], 2 * whole[key][-1]))
    assert (report.missing, report.unexpected) == ((), ())


def test_both_kinds_of_weights_can_be_chosen(tmp_path):
    layout, _ = LAYOUTS["rddm one"]
    layout.write(tmp_path / "a.pt")
    for wanted, averaged in ((None, True), ("ema", True), ("plain", False)):
        model = import_model(tmp_path / "a.pt", ImportOptions(weights=wanted))
        assert difference(layout, model, layout.expected(averaged)) <= 1e-6


def test_an_average_that_never_began_is_not_taken(tmp_path):
    layout, _ = LAYOUTS["rddm one"]
    tables = [rddm_keys(weights(layout.network, seed), True) for seed in (0, 1)]
    held = trainers(*tables)
    held["ema"]["initted"] = torch.tensor([False])
    torch.save(held, tmp_path / "a.pt")
    assert import_model(tmp_path / "a.pt").card["weights"] == "plain"


def test_a_dit(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "S", SMALL_DIT)
    layout = Resfusion(dit, 6)
    layout.write(tmp_path / "a.ckpt")
    model = import_model(tmp_path / "a.ckpt", layout.options)
    assert difference(layout, model, layout.expected(True)) <= 1e-6
    assert (model.recipe.network.backbone.patch, model.recipe.network.backbone.input_size) == (4, 16)


def test_a_schedule_buffer_counts_as_well(tmp_path):
    layout, _ = LAYOUTS["rddm one"]

    def change(table):
        del table["posterior_variance"]
        table["betas"] = table["betas"][:-1]

    layout.write(tmp_path / "a.pt", change)
    report = refused(layout, tmp_path / "a.pt")
    assert report.missing == ("posterior_variance",)
    assert report.mismatched == (("betas", (999,), (1000,)),)


def test_every_name_is_in_the_report_and_the_console_shows_some(tmp_path):
    layout, _ = LAYOUTS["resfusion"]
    gone = []

    def change(table):
        gone.extend(key for key in table if ".norm.bias" in key)
        for key in gone:
            del table[key]

    layout.write(tmp_path / "a.ckpt", change)
    with pytest.raises(KeysError) as caught:
        import_model(tmp_path / "a.ckpt", layout.options)
    assert caught.value.report.missing == tuple(sorted(gone)) and len(gone) > 8
    assert f"{len(gone)} missing: " in str(caught.value) and f"and {len(gone) - 8} more" in str(caught.value)
