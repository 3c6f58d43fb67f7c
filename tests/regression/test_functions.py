"""The functions that are made of the models' rows: what signatures, documentation, type checkers and errors say of them."""

import ast
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

from nbgrad import regression
from nbgrad.regression import data, functions, hessians, objectives

NAMES = [*objectives.__all__, *hessians.__all__]
SHARED = {"sample_weight": None, "l2": 0.0, "fit_intercept": True, "x_scale": 1.0}
every = pytest.mark.parametrize("name", NAMES)


def test_there_are_four_of_each_model():
    kinds = ("value_and_grad", "sums", "hessp", "hessian")
    assert sorted(NAMES) == sorted(f"{model}_{kind}" for model in data.MODELS for kind in kinds)
    assert set(NAMES) <= set(regression.__all__)


@every
def test_signature(name):
    ending = next(k for k in ("_value_and_grad", "_sums", "_hessp", "_hessian") if name.endswith(k))
    parameters = inspect.signature(getattr(regression, name)).parameters
    positional = ["params", *["v"][: ending == "_hessp"], "X", "y"]
    shared = {k: v for k, v in SHARED.items() if k != "l2" or ending != "_sums"}
    assert list(parameters)[: len(positional)] == positional
    own = data.MODELS[name.removesuffix(ending)].parameters
    assert {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY} == shared | own


@every
def test_documentation(name):
    function = getattr(regression, name)
    assert function.__name__ == name and pickle.loads(pickle.dumps(function)) is function
    text = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    assert all(f"\n{parameter} : " in text for parameter in inspect.signature(function).parameters)


@pytest.mark.parametrize(("module", "kinds"), [(objectives, functions.OBJECTIVES), (hessians, functions.HESSIANS)])
def test_type_checkers_see_them(module, kinds):
    """Written by `functions.write_stubs`; a signature there is the function's."""
    text = Path(module.__file__).with_suffix(".pyi").read_text("utf-8")
    assert text == functions.stub(kinds), "write_stubs() of nbgrad.regression.functions writes them anew"
    found = {n.name: n.args for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    assert sorted(found) == module.__all__
    for name, arguments in found.items():
        parameters = inspect.signature(getattr(module, name)).parameters
        assert [a.arg for a in arguments.args + arguments.kwonlyargs] == list(parameters)
        assert [ast.literal_eval(d) for d in arguments.kw_defaults] == [p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY]


@every
def test_an_argument_that_there_is_not(name):
    function = getattr(regression, name)
    arguments = [np.zeros(2)] * (1 + ("hessp" in name)) + [np.zeros((3, 1)), np.zeros(3, int)]
    with pytest.raises(TypeError, match="^fit_intercpt: unexpected keyword argument, model '"):
        function(*arguments, fit_intercpt=False)
    with pytest.raises(TypeError, match=f"^{name}.* missing 1 required positional argument: 'y'"):
        function(*arguments[:-1])
