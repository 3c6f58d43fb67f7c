"""The public functions of a regression model, made of its row (`nbgrad.formulas.regression`): signatures,
documentation, and the way to `Problem`. `nbgrad.regression.objectives` and `nbgrad.regression.hessians` hold them; type
checkers and readers find them spelled out in the files ``.pyi`` beside those, which `write_stubs` writes.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import as_float, on_device
from nbgrad.regression import data
from nbgrad.regression.problem import Problem

__all__ = ["HESSIANS", "OBJECTIVES", "functions", "stub", "write_stubs"]


def _place(params: Any) -> Any:
    """params as an array where they lie: on a GPU, which keeps its answers, or the CPU."""
    return params if on_device(params) else as_float(params, "params")


def _value_and_grad(model: str) -> Callable[..., Any]:
    def function(
        params: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        l2: float = 0.0,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        **parameters: float,
    ) -> tuple[Any, NDArray[Any]]:
        params = _place(params)
        value, grad = Problem(
            model, X, y, sample_weight=sample_weight, l2=l2, fit_intercept=fit_intercept, x_scale=x_scale,
            dtype=data.dtype_of(params), **parameters,
        ).value_and_grad(params)  # fmt: skip
        if on_device(params):
            return value, grad
        with np.errstate(all="ignore"):
            return params.dtype.type(value), grad.astype(params.dtype, copy=False)

    return function


def _sums(model: str) -> Callable[..., Any]:
    def function(
        params: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        **parameters: float,
    ) -> tuple[np.float64, NDArray[Any], np.float64]:
        params = _place(params)
        return Problem(
            model, X, y, sample_weight=sample_weight, fit_intercept=fit_intercept, x_scale=x_scale,
            dtype=data.dtype_of(params), **parameters,
        ).sums(params)  # fmt: skip

    return function


def _hessp(model: str) -> Callable[..., Any]:
    def function(
        params: Any,
        v: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        l2: float = 0.0,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        **parameters: float,
    ) -> NDArray[Any]:
        params = _place(params)
        product: NDArray[Any] = Problem(
            model, X, y, sample_weight=sample_weight, l2=l2, fit_intercept=fit_intercept, x_scale=x_scale,
            dtype=data.dtype_of(params), **parameters,
        ).hessp(params, v)  # fmt: skip
        if on_device(params):
            return product
        with np.errstate(all="ignore"):
            return product.astype(params.dtype, copy=False)

    return function


def _hessian(model: str) -> Callable[..., Any]:
    def function(
        params: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        l2: float = 0.0,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        **parameters: float,
    ) -> NDArray[Any]:
        params = as_float(params, "params")
        operator = Problem(
            model, X, y, sample_weight=sample_weight, l2=l2, fit_intercept=fit_intercept, x_scale=x_scale,
            dtype=params.dtype, **parameters,
        ).hessian(params)  # fmt: skip
        with np.errstate(all="ignore"):
            matrix: NDArray[Any] = operator @ np.eye(params.size)
            return ((matrix + matrix.T) / 2).astype(params.dtype, copy=False)

    return function


#: The functions' endings, what makes them, the first line of their documentation (of a value the model's), what they
#: return.
OBJECTIVES = {
    "value_and_grad": (
        _value_and_grad,
        "",
        "value, grad : the mean of the losses with the penalty, of params' dtype; its gradient, in params' shape.",
    ),
    "sums": (
        _sums,
        "(Σ weight·loss, its gradient, Σ weight) of `{model}_value_and_grad`, additive over rows, without a penalty.",
        "loss, grad, weight : float64.",
    ),
}
HESSIANS = {
    "hessp": (
        _hessp,
        "The Hessian of `{model}_value_and_grad` at ``params`` times ``v``, in one pass over X.",
        "product : of params' shape and dtype.",
    ),
    "hessian": (
        _hessian,
        "The Hessian of `{model}_value_and_grad` at ``params``: `{model}_hessp` of each unit vector.",
        "hessian : (size of params, size of params), of params' dtype.",
    ),
}

#: What all of them say of their arguments.
ARGUMENTS = {
    "params": "float32 or float64 {shape}\n    The coefficients, the intercept last{none}; also on a GPU.",
    "v": "as params\n    The direction.",
    "X": "(n, n_features)\n    An array of real numbers in any memory order, memory-mapped, on a GPU; SciPy's CSR.",
    "y": "(n,)\n    {targets}.",
    "sample_weight": "(n,), optional\n    Finite weights >= 0; a row of weight 0 is absent.",
    "l2": "float\n    The penalty ½·l2·‖w‖² on the coefficients without the intercept, >= 0.",
    "fit_intercept": "bool\n    Whether params hold an intercept.",
    "x_scale": "float\n    A finite number that X is multiplied by: 1/255 for pixels.",
}


def _signature(function: Callable[..., Any], model: str) -> inspect.Signature:
    """With the model's own parameters by name."""
    plain = inspect.signature(function)
    named = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation="float")
        for name, default in data.MODELS[model].parameters.items()
    ]
    return plain.replace(parameters=named + own)


def _documentation(model: str, ending: str, first: str, returns: str, signature: inspect.Signature) -> str:
    """In numpydoc's sections."""
    row = data.MODELS[model]
    text = inspect.cleandoc(row.text)
    columns = "(num_classes, n_features + 1), or that flattened" if model == "softmax" else "(n_features + 1,)"
    targets = row.targets.format(dtype="the precision of params", last="num_classes - 1")
    none = ", none with ``fit_intercept=False``"
    fields = {"shape": columns, "none": none, "targets": targets[0].upper() + targets[1:]}
    told = {name: about.format(**fields) for name, about in ARGUMENTS.items()}
    for name in row.parameters:
        told[name] = ", ".join(filter(None, ["float", row.ranges.get(name)])) + "\n    Of the loss."
    sections = [
        first.format(model=model) or text,
        "Parameters\n----------\n" + "\n".join(f"{name} : {told[name]}" for name in signature.parameters),
        "Returns\n-------\n" + returns,
        "Raises\n------\nTypeError\n    For dtypes that do not fit.\nValueError\n    For shapes, lengths, targets, "
        "weights, l2 and parameters that cannot be, by the name of the argument.",
        "See Also\n--------\nnbgrad.regression.objectives : precision, nan and inf, GPUs.",
    ]
    example = inspect.cleandoc(row.example)
    if first and example:  # the same call, with what this one returns
        call = ast.parse(re.sub(r"^(>>>|\.\.\.) ?", "", example.partition("\n")[0])).body[0].value  # type: ignore[attr-defined]
        params, *others = [ast.unparse(a) for a in (*call.args, *call.keywords)]
        given = ["params", *["params"] * ("v" in signature.parameters), *others]
        example = f">>> params = {params}\n>>> {returns.partition(' : ')[0]} = {model}_{ending}({', '.join(given)})"
    if example:
        sections.append("Examples\n--------\n>>> import numpy as np\n" + example)
    return "\n\n".join(sections) + "\n"


def functions(kinds: dict[str, Any], module: str) -> dict[str, Callable[..., Any]]:
    """All models' functions of these kinds, as those of ``module``, by name."""
    found = {}
    for model in data.MODELS:
        for ending, (make, first, returns) in kinds.items():
            name, function = f"{model}_{ending}", make(model)
            signature = _signature(function, model)
            function.__name__ = function.__qualname__ = name
            function.__module__, function.__signature__ = module, signature
            function.__doc__ = _documentation(model, ending, first, returns, signature)
            found[name] = function
    return found


def stub(kinds: dict[str, Any]) -> str:
    """The text of the file ``.pyi``."""
    found = functions(kinds, "")
    lines = ['"""Written by `nbgrad.regression.functions.write_stubs`."""', "", "from typing import Any", ""]
    signatures = {name: str(inspect.signature(function)).replace("'", "") for name, function in found.items()}
    lines += ["import numpy as np"] if any("np." in signature for signature in signatures.values()) else []
    lines += ["from numpy.typing import NDArray", "", "__all__: list[str]", ""]
    lines += [f"def {name}{_folded(signature)}: ..." for name, signature in signatures.items()]
    return "\n".join(lines) + "\n"


def _folded(signature: str) -> str:
    """A signature of a line for each parameter."""
    arguments, returned = re.fullmatch(r"\((.*)\)( -> .*)", signature).groups()  # type: ignore[union-attr]
    return "(\n" + "".join(f"    {a},\n" for a in arguments.split(", ")) + ")" + returned


def write_stubs() -> None:
    """Both files, for who has added a row:
    ``python -c "from nbgrad.regression.functions import write_stubs; write_stubs()"``
    """
    for name, kinds in (("objectives", OBJECTIVES), ("hessians", HESSIANS)):
        Path(__file__).with_name(f"{name}.pyi").write_text(stub(kinds), "utf-8")
