"""Results to compare: folders of pictures, and scores without any."""

from pathlib import Path

from pictures import near, picture, save

from residiff.data.parts import FilePart
from residiff.evaluate import Result, Score, find_paired_protocol
from residiff.evaluate.results import Inputs
from residiff.reports import Comparison
from residiff.reports.methods import Method

SIZE = (3, 20, 27)


def folder(path, names, level, size=SIZE):
    """A folder of pictures, each its true one with noise of a standard deviation of `level`; 0 for the true ones."""
    for seed, name in enumerate(names):
        save(path / f"{name}.png", near(seed, level, size) if level else picture(seed, size))
    return path


def scored(by_label, measure="psnr", protocol="rgb-8bit-full", **options):
    """A comparison of methods by their scores of one measure; `options` are its own, `facts` by label but for that."""
    facts = options.pop("facts", {})
    methods = []
    for label, scores in by_label.items():
        images = tuple(Score(f"p{place:03d}", {measure: score}) for place, score in enumerate(scores))
        inputs = {side: Inputs(label if side == "predicted" else side, len(images), "0" * 64) for side in SIDES}
        result = Result(protocol, 1, images, inputs=inputs, label=label, facts=facts.get(label, {}))
        methods.append(Method(label, label, result, {}))
    truth = {score.name: FilePart(Path("none")) for score in methods[0].result.images}
    return Comparison(find_paired_protocol(protocol), tuple(methods), measure, truth, **options)


SIDES = ("predicted", "truth")
