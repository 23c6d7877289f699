"""The Inception Score: closed forms, scipy's entropy, and how the splits are cut."""

import numpy as np
import pytest
import scipy.stats
import torch

from residiff.errors import ConfigError
from residiff.metrics.inception_scores import inception_score
from residiff.seeds import generator


def draw(count, classes, seed=0):
    return torch.softmax(2 * torch.randn(count, classes, generator=generator(seed), dtype=torch.float64), 1)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_sure_of_every_class_alike_is_the_number_of_classes(classes):
    sure = torch.eye(classes).repeat(3, 1)
    assert inception_score(sure, 3).mean == pytest.approx(classes, rel=1e-9)


@pytest.mark.parametrize("row", [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
def test_all_alike_is_one(row):
    found = inception_score(torch.tensor([row] * 20))
    assert (found.mean, found.deviation) == pytest.approx((1, 0), abs=1e-9)


def test_half_sure_in_closed_form():
    """Two kinds of image, (1 - e, e) and (e, 1 - e): the divergence is log 2 less the entropy of e."""
    e = 0.2
    entropy = -e * np.log(e) - (1 - e) * np.log(1 - e)
    found = inception_score(torch.tensor([[1 - e, e], [e, 1 - e]], dtype=torch.float64).repeat(10, 1), 10)
    assert found.mean == pytest.approx(np.exp(np.log(2) - entropy), rel=1e-9)


def test_it_is_scipys_divergence_over_splits_in_order():
    rows = draw(47, 6)
    scores = []
    for part in rows.numpy()[:45].reshape(5, 9, 6):
        scores.append(np.exp(np.mean([scipy.stats.entropy(row, part.mean(0)) for row in part])))
    found = inception_score(rows, 5)
    assert (found.mean, found.deviation) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9)
    assert found != inception_score(rows.flip(0), 5)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ConfigError, match="give the softmax"):
        inception_score(torch.randn(20, 5))
    with pytest.raises(ConfigError, match="give the softmax"):
        inception_score(torch.full((20, 5), torch.nan))
    with pytest.raises(ConfigError, match="splits is 10; allowed are 1 to 9"):
        inception_score(draw(9, 5))
    with pytest.raises(ConfigError, match="needed is"):
        inception_score(torch.ones(5))
