"""Inception v3: the documented names and shapes, the numbers of a published package, and its blocks by hand."""

import pytest
import torch
from torch.nn import functional
from weighting import drawn

from residiff.errors import ConfigError
from residiff.metrics.inception import Mixed, fid_inception, torchvision_inception
from residiff.metrics.inception_inputs import tensorflow_input
from residiff.seeds import generator

# Every convolution as the architecture is documented: name, output and input channels, kernel
LAYERS = """
Conv2d_1a_3x3 32 3 3x3   Conv2d_2a_3x3 32 32 3x3  Conv2d_2b_3x3 64 32 3x3  Conv2d_3b_1x1 80 64 1x1
Conv2d_4a_3x3 192 80 3x3
Mixed_5b.branch1x1 64 192 1x1       Mixed_5b.branch5x5_1 48 192 1x1    Mixed_5b.branch5x5_2 64 48 5x5
Mixed_5b.branch3x3dbl_1 64 192 1x1  Mixed_5b.branch3x3dbl_2 96 64 3x3  Mixed_5b.branch3x3dbl_3 96 96 3x3
Mixed_5b.branch_pool 32 192 1x1
Mixed_5c.branch1x1 64 256 1x1       Mixed_5c.branch5x5_1 48 256 1x1    Mixed_5c.branch5x5_2 64 48 5x5
Mixed_5c.branch3x3dbl_1 64 256 1x1  Mixed_5c.branch3x3dbl_2 96 64 3x3  Mixed_5c.branch3x3dbl_3 96 96 3x3
Mixed_5c.branch_pool 64 256 1x1
Mixed_5d.branch1x1 64 288 1x1       Mixed_5d.branch5x5_1 48 288 1x1    Mixed_5d.branch5x5_2 64 48 5x5
Mixed_5d.branch3x3dbl_1 64 288 1x1  Mixed_5d.branch3x3dbl_2 96 64 3x3  Mixed_5d.branch3x3dbl_3 96 96 3x3
Mixed_5d.branch_pool 64 288 1x1
Mixed_6a.branch3x3 384 288 3x3
Mixed_6a.branch3x3dbl_1 64 288 1x1  Mixed_6a.branch3x3dbl_2 96 64 3x3  Mixed_6a.branch3x3dbl_3 96 96 3x3
Mixed_7a.branch3x3_1 192 768 1x1    Mixed_7a.branch3x3_2 320 192 3x3
Mixed_7a.branch7x7x3_1 192 768 1x1  Mixed_7a.branch7x7x3_2 192 192 1x7
Mixed_7a.branch7x7x3_3 192 192 7x1  Mixed_7a.branch7x7x3_4 192 192 3x3
"""
SEVENS = """
branch1x1 192 768 1x1     branch7x7_1 C 768 1x1     branch7x7_2 C C 1x7      branch7x7_3 192 C 7x1
branch7x7dbl_1 C 768 1x1  branch7x7dbl_2 C C 7x1    branch7x7dbl_3 C C 1x7   branch7x7dbl_4 C C 7x1
branch7x7dbl_5 192 C 1x7  branch_pool 192 768 1x1
"""
FORKS = """
branch1x1 320 C 1x1       branch3x3_1 384 C 1x1        branch3x3_2a 384 384 1x3     branch3x3_2b 384 384 3x1
branch3x3dbl_1 448 C 1x1  branch3x3dbl_2 384 448 3x3   branch3x3dbl_3a 384 384 1x3  branch3x3dbl_3b 384 384 3x1
branch_pool 192 C 1x1
"""
REPEATED = [(SEVENS, "6b", 128), (SEVENS, "6c", 160), (SEVENS, "6d", 160), (SEVENS, "6e", 192)]
REPEATED += [(FORKS, "7b", 1280), (FORKS, "7c", 2048)]


def documented(classes):
    """Names and shapes of all weights."""
    words = LAYERS.split()
    for table, block, width in REPEATED:
        named = [f"Mixed_{block}.{word}" if word.startswith("branch") else word for word in table.split()]
        words += [str(width) if word == "C" else word for word in named]
    shapes = {"fc.weight": (classes, 2048), "fc.bias": (classes,)}
    for name, after, before, kernel in zip(*[iter(words)] * 4, strict=True):
        shapes[f"{name}.conv.weight"] = (int(after), int(before), *map(int, kernel.split("x")))
        shapes |= {f"{name}.bn.{word}": (int(after),) for word in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.bn.num_batches_tracked"] = ()
    return shapes


def count(model):
    return sum(weight.numel() for weight in model.parameters())


# torchvision documents 27,161,264 with the auxiliary classifier, whose 3,326,696 are left out here
@pytest.mark.parametrize(
    ("make", "classes", "parameters"),
    [(torchvision_inception, 1000, 27_161_264 - 3_326_696), (fid_inception, 1008, 23_850_960)],
)
def test_names_and_shapes_are_those_of_the_published_files(make, classes, parameters):
    model = make()
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == documented(classes)
    assert len(documented(classes)) == 94 * 6 + 2 and count(model) == parameters


@pytest.fixture(scope="module")
def published():
    """The network of FID with weights drawn once."""
    model = fid_inception()
    model.load_state_dict(drawn({key: value.shape for key, value in model.state_dict().items()}, 1))
    return model


# torch-fidelity 0.4.0 with these weights and this image: length, mean, deviation, the first two
PUBLISHED = {
    64: (0.463331401, 0.448773682, 3.33534808e-05, 0.903269529),
    192: (0.847424805, 1.03926718, 1.29787529, 1.11698091),
    768: (1.70314801, 2.33328032, 1.64690781, 0.180786088),
    2048: (2.72648191, 3.91613579, 0.216330633, 3.15708184),
}


def test_a_published_package_gives_the_same(published):
    image = torch.randint(0, 256, (1, 3, 40, 61), dtype=torch.uint8, generator=generator(2))
    seen = tensorflow_input(image)
    with torch.inference_mode():
        for width, expected in PUBLISHED.items():
            found = published.features(seen, width)
            assert found.shape == (1, width)
            numbers = [float(found.mean()), float(found.std()), *found[0, :2].tolist()]
            assert numbers == pytest.approx(expected, rel=1e-4, abs=1e-6)
        logits = published(seen)
    assert logits.shape == (1, 1008) and float(logits.mean()) == pytest.approx(2790.98853, rel=1e-4)


def unit(weights, name, x, stride=1):
    """Convolution, normalisation written out, rectifier."""
    kernel = weights[f"{name}.conv.weight"].double()
    padding = [side // 2 for side in kernel.shape[2:]] if stride == 1 else 0
    y = functional.conv2d(x, kernel, None, stride, padding)
    mean, variance, gain, bias = (
        weights[f"{name}.bn.{word}"].double()[:, None, None]
        for word in ("running_mean", "running_var", "weight", "bias")
    )
    return ((y - mean) / (variance + 0.001).sqrt() * gain + bias).clamp(min=0)


def mean_of_neighbours(x, counts_border):
    """3 x 3 means; those beyond the border count as zeros, or not at all."""
    ones = torch.ones_like(x[:1, :1])
    total = functional.unfold(x, 3, padding=1).view(len(x), x.shape[1], 9, -1).sum(2).view_as(x)
    return total / (9 if counts_border else functional.unfold(ones, 3, padding=1).sum(1).view_as(ones))


def largest_neighbour(x):
    return functional.unfold(x - x.amin() + 1, 3, padding=1).view(len(x), x.shape[1], 9, -1).amax(2).view_as(x) + (
        x.amin() - 1
    )


def block_weights(block, seed):
    block.load_state_dict(drawn({key: value.shape for key, value in block.state_dict().items()}, seed))
    return block.double().state_dict()


@pytest.mark.parametrize(("make", "counts"), [(fid_inception, False), (torchvision_inception, True)])
def test_a_wide_block_by_hand(make, counts):
    block = make().get_submodule("Mixed_5c")
    at = block_weights(block, 3)
    x = torch.rand(2, 256, 5, 6, generator=generator(4), dtype=torch.float64)
    double = unit(at, "branch3x3dbl_2", unit(at, "branch3x3dbl_1", x))
    expected = [
        unit(at, "branch1x1", x),
        unit(at, "branch5x5_2", unit(at, "branch5x5_1", x)),
        unit(at, "branch3x3dbl_3", double),
        unit(at, "branch_pool", mean_of_neighbours(x, counts)),
    ]
    torch.testing.assert_close(block(x), torch.cat(expected, 1))


@pytest.mark.parametrize(
    ("make", "name", "pool"),
    [
        (fid_inception, "Mixed_7b", lambda x: mean_of_neighbours(x, False)),
        (fid_inception, "Mixed_7c", largest_neighbour),
        (torchvision_inception, "Mixed_7c", lambda x: mean_of_neighbours(x, True)),
    ],
    ids=["fid 7b", "fid 7c", "torchvision 7c"],
)
def test_a_forked_block_by_hand(make, name, pool):
    block = make().get_submodule(name)
    at = block_weights(block, 5)
    x = torch.randn(1, 1280 if name == "Mixed_7b" else 2048, 4, 3, generator=generator(6), dtype=torch.float64)
    three = unit(at, "branch3x3_1", x)
    double = unit(at, "branch3x3dbl_2", unit(at, "branch3x3dbl_1", x))
    forks = [("branch3x3_2a", three), ("branch3x3_2b", three), ("branch3x3dbl_3a", double), ("branch3x3dbl_3b", double)]
    expected = [unit(at, "branch1x1", x), *(unit(at, word, y) for word, y in forks), unit(at, "branch_pool", pool(x))]
    torch.testing.assert_close(block(x), torch.cat(expected, 1))


def test_blocks_that_halve_the_sides_by_hand():
    six, seven = (torchvision_inception().get_submodule(name) for name in ("Mixed_6a", "Mixed_7a"))
    at = block_weights(six, 7)
    x = torch.rand(1, 288, 7, 9, generator=generator(8), dtype=torch.float64)
    double = unit(at, "branch3x3dbl_3", unit(at, "branch3x3dbl_2", unit(at, "branch3x3dbl_1", x)), stride=2)
    expected = [unit(at, "branch3x3", x, stride=2), double, largest_neighbour(x)[..., 1:-1:2, 1:-1:2]]
    torch.testing.assert_close(six(x), torch.cat(expected, 1))
    assert isinstance(seven, Mixed) and seven(torch.rand(1, 768, 7, 9)).shape == (1, 1280, 3, 4)


def test_the_network_is_for_scoring(published):
    assert not published.training and not any(weight.requires_grad for weight in published.parameters())
    two = torch.rand(2, 3, 80, 90, generator=generator(9)) * 2 - 1
    torch.testing.assert_close(published.features(two)[1:], published.features(two[1:]), rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused(published):
    with pytest.raises(ConfigError, match="no features of 100 numbers; allowed are 64, 192, 768, 2048"):
        published.features(torch.zeros(1, 3, 299, 299), 100)
    with pytest.raises(ConfigError, match="sides of at least 75"):
        published.features(torch.zeros(1, 3, 74, 299))
    assert torch.isfinite(published.features(torch.zeros(1, 3, 75, 75))).all()
