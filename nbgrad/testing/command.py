"""`nbgrad check`: the gradient of a function named on the command line."""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nbgrad.testing.examples.property import gradient_test
from nbgrad.testing.examples.specs import Spec, array, drawing
from nbgrad.testing.report import GradientError, GradientWarning, name_of

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """0: right; 1: wrong, or nothing could be confirmed. ValueError and others for what cannot be checked."""
    drawing()  # hypothesis is there, or its absence the first thing said
    import hypothesis

    if arguments.examples < 1:
        raise ValueError(f"--examples: expected at least 1, got {arguments.examples}")
    forward = _function(arguments.forward)
    backward = _backward(arguments)
    specs, drawn = _specs(arguments, forward)
    settings = hypothesis.settings(
        max_examples=arguments.examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    test = gradient_test(forward, backward, *specs, settings=settings, strict=arguments.strict)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GradientWarning)
        try:
            test()
        except GradientError as error:
            print(_shown("\n".join([str(error), *getattr(error, "__notes__", [])]), arguments))
            return 1
    report = test.report  # type: ignore[attr-defined]
    for warning in told:
        print(_shown(f"warning: {warning.message}", arguments))
    if report.elements and not report.confirmed + report.kinks:
        return 1
    names = [name_of(f, name)[0] for f, name in ((backward, "backward"), (forward, "forward"))]
    print(f"right: {names[0]} is the gradient of {names[1]}")
    print(f"  drawn      {drawn}")
    print(
        f"  elements   {report.elements}: {report.confirmed} confirmed, {report.kinks} at kinks, "
        f"{report.undecided} undecided; worst {report.worst_ulps:.3g} ulps"
    )
    return 0


def _shown(text: str, arguments: argparse.Namespace) -> str:
    """With the lines that let the reproducer import from the files' folders."""
    places = [_place(name)[0] for name in (arguments.forward, arguments.backward or "")]
    folders = dict.fromkeys(str(Path(p).resolve().parent) for p in places if _is_file(p))
    lines = "".join(f"    sys.path.insert(0, {f!r})\n" for f in folders if f != os.getcwd())
    first = "    import numpy as np\n"
    return text.replace(first, "    import sys\n" + lines + first, 1) if lines else text


def _place(name: str) -> tuple[str, str]:
    """MODULE and the rest of MODULE:FUNCTION."""
    place, _, attribute = name.rpartition(":")
    return place, attribute


def _is_file(place: str) -> bool:
    return place.endswith(".py") or os.path.sep in place


def _function(name: str) -> Callable[..., Any]:
    """The function MODULE:NAME."""
    place, attribute = _place(name)
    if not place or not attribute:
        raise ValueError(f"expected MODULE:FUNCTION, as in my/file.py:f or package.module:f, got {name!r}")
    found: Any = _from_file(place) if _is_file(place) else _imported(place)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = difflib.get_close_matches(part, dir(found), 1)
            raise ValueError(f"{place} has no {attribute!r}" + (f"; it has {near[0]!r}" if near else "")) from None
    if not callable(found):
        raise TypeError(f"{name}: expected a function, got {type(found).__name__}")
    return found


def _backward(arguments: argparse.Namespace) -> Callable[..., Any]:
    if arguments.backward is None:
        try:
            return _function(arguments.forward + "_backward")
        except ValueError as error:
            raise ValueError(f"{error}; name the gradient's function behind {arguments.forward}") from None
    place = _place(arguments.forward)[0]
    return _function(arguments.backward if ":" in arguments.backward else f"{place}:{arguments.backward}")


def _imported(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _executed(name, lambda: importlib.import_module(name))


def _from_file(place: str) -> Any:
    path = Path(place).resolve()
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", place)
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as `python FILE` does
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{place}: expected a file of Python, *.py")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    if known is None:  # json.py does not hide the standard library's json
        sys.modules[path.stem] = module
    _executed(place, lambda: loader.exec_module(module))
    return module


def _executed(place: str, execute: Callable[[], Any]) -> Any:
    """What an import gives; every way in which it fails in one line."""
    try:
        return execute()
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            raise ValueError(f"there is no module {error.name!r} on Python's path or in the current folder") from None
        raise ValueError(f"{place}: it imports {error.name!r}, which is not there") from None
    except SyntaxError as error:
        raise ValueError(f"{place}: {error.msg} (line {error.lineno})") from None
    except SystemExit:
        why = "it ends Python when it is imported; what a script does belongs under if __name__ == '__main__'"
        raise ValueError(f"{place}: {why}") from None
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(line.filename).name}, line {line.lineno}"
        raise ValueError(f"{place}: {type(error).__name__}: {error} ({where})") from None


def _count(forward: Any, given: int) -> int:
    """How many arguments forward takes: those that it needs."""
    if isinstance(forward, np.ufunc):
        return int(forward.nin)
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return max(given, 1)
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return max(given, len(needed), 1)
    return len(needed) or 1


def _each(given: Sequence[Any] | None, default: Any, count: int, option: str) -> list[Any]:
    """An option's value for each argument: given once it is that of all."""
    values = list(given or [default])
    if len(values) not in (1, count):
        raise ValueError(f"{option}: expected it once, or for each of {count} arguments, got it {len(values)} times")
    return values * (count if len(values) == 1 else 1)


def _shape(text: str | None) -> Any:
    if text is None or text == "number":
        return text
    try:
        sides = tuple(int(n) for n in text.strip("()").split(",") if n.strip())
    except ValueError:
        sides = ()
    if not sides or min(sides) < 1:
        raise ValueError(f"--shape: expected positive lengths, as in 3 or 3,2, or 'number', got {text!r}")
    return sides


def _specs(arguments: argparse.Namespace, forward: Callable[..., Any]) -> tuple[list[Spec], str]:
    """(a spec for each of forward's arguments, what they are in words)"""
    options = (arguments.domain, arguments.shape, arguments.dtype)
    count = _count(forward, max(len(o or []) for o in options))
    domains = [tuple(d) for d in _each(arguments.domain, (-math.inf, math.inf), count, "--domain")]
    for low, high in domains:
        if not low < high:
            raise ValueError(f"--domain: expected A < B, got {low} {high}")
    dtypes = [np.dtype(d) for d in _each(arguments.dtype, "float64", count, "--dtype")]
    given = [_shape(s) for s in _each(arguments.shape, None, count, "--shape")]
    shapes, words = _tried(forward, given, list(zip(dtypes, domains, strict=True)))
    specs = []
    for shape, dtype, domain in zip(shapes, dtypes, domains, strict=True):
        number = isinstance(shape, str)
        spec = array(() if number else shape, dtype, domain)
        specs.append(Spec(spec.strategy.map(_number), (), spec.domain) if number else spec)
    kinds = zip(dtypes, domains, strict=True)
    ranges = dict.fromkeys(f"{dtype} from {low:g} to {high:g}" for dtype, (low, high) in kinds)
    return specs, f"{words}, {', '.join(ranges)}"


def _number(a: Any) -> Any:
    return a.item() if a.dtype == np.float64 else a[()]


def _tried(forward: Callable[..., Any], given: list[Any], kinds: list[Any]) -> tuple[list[Any], str]:
    """(the shape, strategy of shapes or "number" of each argument, in words): what is not given is what forward takes
    of arrays of one and of two axes, square ones, and numbers.
    """
    strategies = drawing()
    from hypothesis import strategies as st

    square = st.shared(st.integers(1, 4).map(lambda n: (n, n)), key="nbgrad.testing.square")
    candidates: list[tuple[list[Any], Any, str]] = [
        ([(2,), (3, 2)], None, "arrays of small shapes"),
        ([(2,)], strategies.shapes(1, 1), "arrays of one axis"),
        ([(3, 2)], strategies.shapes(2, 2), "arrays of two axes"),
        ([(2, 2)], square, "square matrices"),
        (["number"], "number", "numbers"),
    ]
    if None not in given:
        candidates = [([None], None, ", ".join(dict.fromkeys(map(str, given))))]
    failure = ""
    for tries, chosen, words in candidates:
        for shape in tries:
            failure = _refusal(forward, [s or shape for s in given], kinds)
            if failure:
                break
        else:
            return [s or chosen for s in given], words
    raise ValueError(f"forward does not take what is drawn for it: {failure}; see --shape, --domain and --dtype")


def _refusal(forward: Callable[..., Any], shapes: list[Any], kinds: list[Any]) -> str:
    """Why forward does not take arguments of these shapes; empty if it does."""
    rng = np.random.default_rng(0)
    values = []
    for shape, (dtype, (low, high)) in zip(shapes, kinds, strict=True):
        number = isinstance(shape, str)
        low, high = max(low, min(0.25, high - 1)), min(high, max(2.0, low + 1))
        drawn = np.asarray(rng.uniform(low, high, () if number else shape)).astype(dtype)
        values.append(_number(drawn) if number else drawn)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(forward(*values))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if found.dtype.kind == "f" else f"it returns {found.dtype}, expected floats"
