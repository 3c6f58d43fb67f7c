"""Leaves of tuples, lists and dicts, and the way back."""

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

from nbgrad.testing.frameworks.tree import flatten, joined, names, split

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value", [3, (), {}, [1, 2], {"w": 1, "b": (2, [3, {}])}, Pair(1, (2,)), OrderedDict(x=1, y=Pair(2, 3)), defaultdict(list, k=1)], ids=str
)
def test_there_and_back(value):
    leaves, back = flatten(value)
    again = back([v for v in leaves])
    assert again == value and type(again) is type(value) and len(names(value, "x")) == len(leaves)
    assert [eval(name, {"x": value}) for name in names(value, "x")] == leaves
    assert back([10 * v for v in leaves]) == flatten(value)[1]([10 * v for v in leaves])


def test_several_arrays_in_one():
    arrays = [np.array(1.0), np.zeros((0, 2)), np.arange(6.0).reshape(2, 3)]
    for chosen in (arrays, arrays[:1], arrays[2:]):
        parts = split(joined(chosen), [a.shape for a in chosen])
        assert all(p.shape == a.shape and (p == a).all() for p, a in zip(parts, chosen, strict=True))
    assert joined(arrays).shape == (7,) and joined(arrays[:1]).shape == ()
