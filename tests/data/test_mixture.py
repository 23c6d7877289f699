"""Mixtures: exact shares, each part's own numbers in order, the same in every process."""

import pickle
import time
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from residiff.data.mixture import Mixed
from residiff.data.pair import Pair
from residiff.errors import ConfigError


class Counted:
    """Pairs that show their part and number."""

    def __init__(self, part, size=0):
        self.source, self.part, self.size = f"part {part}", part, size

    def name(self, index):
        return f"{self.part}/{index}"

    def __call__(self, index):
        return Pair(torch.full((3, 1, 1), self.part), torch.full((3, 1, 1), index), torch.zeros(0, 1, 1))


def mixed(*weights, seed=0):
    return Mixed([(Counted(part), weight) for part, weight in enumerate(weights)], seed)


WEIGHTS = some.lists(some.floats(0.002, 1000), min_size=1, max_size=12).filter(lambda w: min(w) / sum(w) > 2e-3)


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, some.integers(0, 2**40))
def test_shares_are_exact_to_less_than_one_after_whole_blocks(weights, block):
    source, total = mixed(*weights), sum(map(Fraction, weights))
    for number in range(block, block + 20):
        before, after = source._before(number), source._before(number + 1)
        assert sum(before) == number * source.block
        assert all(new > old for old, new in zip(before, after, strict=True)), "no number comes twice"
        for count, weight in zip(before, weights, strict=True):
            assert abs(count - number * source.block * Fraction(weight) / total) < 1


@settings(max_examples=20, deadline=None)
@given(WEIGHTS, some.integers(0, 2**40), some.integers(0, 9))
def test_the_numbers_of_each_part_are_met_in_order(weights, block, seed):
    source = mixed(*weights, seed=seed)
    following = source._before(block)
    for index in range(block * source.block, (block + 2) * source.block):
        part, own = source.place(index)
        assert own == following[part]
        following[part] += 1
    assert following == source._before(block + 2)


def test_the_first_numbers_are_the_first():
    source, met = mixed(3, 1), []
    for index in range(4000):
        met.append(source.place(index))
        pair = source(index)
        assert (int(pair.clean[0]), int(pair.degraded[0])) == met[-1]
        assert source.name(index) == "{}/{}".format(*met[-1])
    assert [own for part, own in met if part == 1] == list(range(1000))
    parts = torch.tensor([part for part, _ in met]).double()
    # Shuffled: neighbours tell nothing of each other
    assert abs(torch.corrcoef(torch.stack([parts[1:], parts[:-1]]))[0, 1]) < 0.06
    assert [source.place(index) for index in reversed(range(4000))] == met[::-1]
    assert [mixed(3, 1, seed=1).place(index) for index in range(4000)] != met


def test_blocks_grow_for_rare_parts():
    source = mixed(1, 1e-3)
    assert source.block == 2002 and mixed(1, 1).block == 1000
    assert sum(source.place(index)[0] for index in range(2002)) == 2


def test_what_travels_to_another_process_is_small():
    source = mixed(0.3, 0.2, 0.5)
    met = [source.place(index) for index in range(990, 1010)]
    data = pickle.dumps(source)
    assert len(data) < 1000 and [pickle.loads(data).place(index) for index in range(990, 1010)] == met


def test_sizes_of_the_parts_that_end_add_up():
    one, other = Counted(0, 5), Counted(1, 70)
    assert Mixed([(one, 1), (other, 2)], 0).size == 75
    assert Mixed([(one, 1), (Counted(1), 2)], 0).size == 5
    assert Mixed([(one, 1), (other, 3)], 0).source == "mixture of 0.25 of part 0, 0.75 of part 1"


def test_a_look_up_costs_next_to_nothing_and_keeps_little():
    source = mixed(0.7, 0.2, 0.1)
    source.place(0)
    began = time.process_time()
    for index in range(50_000):
        source.place(index)
    assert time.process_time() - began < 50_000 * 20e-6
    assert source._dealt.cache_info().currsize <= 4 and source._dealt.cache_info().misses == 50


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((), "has no parts"),
        ((1, 0), "weight of part 1 is 0; allowed are 1e-06 to"),
        ((1, float("nan")), "weight of part 1 is nan"),
        ((1, 1e-6), "part 1 has a share of 1e-06 of the mixture; allowed are 1e-05 and more"),
    ],
)
def test_weights_that_cannot_be_kept_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        mixed(*weights)
