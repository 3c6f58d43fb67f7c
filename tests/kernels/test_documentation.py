"""The kernels' docstrings: numpydoc's sections, true of the signature; what functions on Tensors say points there."""

import inspect
import re

import pytest

from nbgrad import functional, kernels
from nbgrad.formulas.table import OPS, PUBLIC_LOSSES, ROW_FUNCTIONS


def sections(text):
    """{title: lines} of a numpydoc docstring."""
    parts = re.split(r"^(\w+)\n-+$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", kernels.__all__)
def test_sections(name):
    function = getattr(kernels, name)
    found = sections(function.__doc__)
    assert list(found) == ["Parameters", "Returns", "Raises", "Examples"]
    entries = re.findall(r"^(\w+) : (.+)\n    (.+)$", found["Parameters"], re.MULTILINE)
    parameters = inspect.signature(function).parameters
    assert [entry[0] for entry in entries] == list(parameters)
    for parameter, kind, _ in entries:
        default = parameters[parameter].default
        assert ("optional" in kind) == (default is None)
        assert default in (None, inspect.Parameter.empty) or kind.endswith(f", default {default!r}")


def test_a_rows_own_parameters_say_their_range():
    assert "delta : float, default 1.0\n    A real number > 0.\n" in kernels.huber_loss.__doc__
    assert "negative_slope : float, default 0.1\n    A real number.\n" in kernels.leaky_relu_backward.__doc__


@pytest.mark.parametrize("name", [*OPS, *PUBLIC_LOSSES, *ROW_FUNCTIONS])
def test_functions_on_tensors_point_to_the_kernels(name):
    text = getattr(functional, name).__doc__
    if name != "binary_cross_entropy_with_logits":
        assert text.startswith(f"`nbgrad.kernels.{name}` on") and "erivative" not in text
