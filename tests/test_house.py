"""The house: which room may import from which, no circles, foreign names where they belong, and how little an addition
touches.
"""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nbgrad"

#: Each room, a folder or a file, may import from those on floors before its own; those of one floor never see each other.
FLOORS = [
    ["typing", "jit"], ["elementary"], ["formulas"], ["derive"], ["arguments", "arrays"], ["cpu", "cuda"], ["place"], ["overloads"], ["kernels"],
    ["autograd", "regression"], ["derived", "functional", "module"], ["optim", "nn"], ["datasets", "testing"], ["training"], ["cli"],
]  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: Names from outside, and the rooms that may know them.
FOREIGN = {
    "cupy": {"cuda"}, "numba.cuda": {"cuda"},
    **dict.fromkeys(["llvmlite", "numba.core", "numba.np", "numba.cpython"], {"jit", "cuda"}),
}  # fmt: skip


def modules(package):
    """Each module's file by its name; a package's is its `__init__`."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = ["nbgrad", *path.relative_to(package).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(name, path):
    """The dotted names that a file imports anywhere in it: at once, later, for type checkers, relatively."""
    here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    return _imported(tuple(here), path.read_text("utf-8"))


@functools.cache  # the copies below differ from the package in one file each
def _imported(here, source):
    return list(_walk(here, ast.parse(source)))


def _walk(here, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            home = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{home}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


def graph(package):
    """What each module imports of the package's modules."""
    known = modules(package)

    def home(name):
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    return {name: {home(i) for i in imported(name, path)} - {"", name} for name, path in known.items()}


def room(name):
    return (name.split(".") + [""])[1]


def upward(package):
    """The imports that do not go down."""
    return [
        f"{name} imports {other}"
        for name, others in graph(package).items()
        for other in sorted(others)
        if (a := room(name)) in FLOOR and (b := room(other)) in FLOOR and a != b and FLOOR[b] >= FLOOR[a]
    ]


def circles(package):
    """Modules that import each other, around however many corners."""
    below = graph(package)
    below["nbgrad"] = set()  # its names are loaded when they are asked for, and nobody below asks
    reached = {name: set(others) for name, others in below.items()}
    changed = True
    while changed:
        changed = False
        for others in reached.values():
            more = set().union(*(reached[o] for o in others)) - others
            changed |= bool(more)
            others |= more
    return sorted(name for name, others in reached.items() if name in others)


def strangers(package):
    return [
        f"{name} imports {other}"
        for name, path in modules(package).items()
        for other in imported(name, path)
        for prefix, rooms in FOREIGN.items()
        if f"{other}.".startswith(prefix + ".") and room(name) not in rooms
    ]


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "nbgrad", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "nbgrad"


def add(path, text):
    path.write_text(path.read_text("utf-8") + text, "utf-8")


def test_every_room_has_its_floor():
    rooms = {room(name) for name in modules(PACKAGE)} - {"", "__main__"}
    assert rooms == set(FLOOR)


def test_the_guide_goes_up_by_floors():
    """Its rows' first cells name rooms, files or folders."""
    guide = (PACKAGE / "README.md").read_text("utf-8")
    cells = re.findall(r"^\| (`.*?`) \|", guide, re.MULTILINE)
    floors = [{FLOOR[room] for room in re.findall(r"`(\w+)", cell)} for cell in cells]
    assert len(floors) > 10
    assert all(max(before) <= max(after) and min(before) <= min(after) for before, after in zip(floors, floors[1:], strict=False)), cells


def test_imports_go_down():
    assert upward(PACKAGE) == []


def test_no_circles():
    assert circles(PACKAGE) == []


def test_foreign_names_stay_in_their_rooms():
    assert strangers(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "look"),
    [
        ("elementary/normal.py", "from nbgrad.formulas import classic", upward),
        ("cpu/rows.py", "from nbgrad.cuda import rows", upward),
        ("cpu/rows.py", "def f():\n    from ..kernels import losses", upward),
        ("kernels/losses.py", "if 0:\n    import nbgrad.autograd.tensor", upward),
        ("arrays.py", "import importlib\nimportlib.import_module('nbgrad.place')", upward),
        ("autograd/tape.py", "from .tensor import Tensor", circles),
        ("kernels/elementwise.py", "from nbgrad import kernels", circles),
        ("kernels/losses.py", "def f():\n    import cupy", strangers),
        ("autograd/devices.py", "from numba import cuda", strangers),
        ("cpu/rows.py", "from llvmlite import ir", strangers),
        ("elementary/normal.py", "def f():\n    from numba.core import types", strangers),
        ("cpu/lanes.py", "from llvmlite import ir", strangers),
        ("overloads/rows.py", "from numba.core import cgutils", strangers),
    ],
)
def test_what_is_forbidden_is_found(copy, file, line, look):
    assert look(copy) == []
    add(copy / file, f"\n\n{line}\n")
    assert look(copy) != []


#: What a plug-in shows above the switch: names, parameters of functions, methods of the place; one line each.
SHOWN = """
import importlib, inspect, sys
plug_in = importlib.import_module("nbgrad." + sys.argv[1])
def show(name, value):
    print(name, *(inspect.signature(value).parameters if callable(value) else ()))
for module in plug_in.__all__:
    shown = getattr(plug_in, module)
    print(module, *sorted(set(shown.__all__) - {"CPU"}))
    for name in set(shown.__all__) - {"CPU", "Place"}:
        show(f"{module}.{name}", getattr(shown, name))
for name in dir(plug_in.place.Place):
    if not name.startswith("_") and callable(method := getattr(plug_in.place.Place, name)):
        show(f"place.Place.{name}", method)
"""


def shown(package, plug_in):
    command, environment = [sys.executable, "-c", SHOWN, plug_in], {**os.environ, "PYTHONPATH": str(package.parent)}
    answer = subprocess.run(command, env=environment, cwd=package.parent, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return {re.sub(" (self|place) ?", " ", line).strip() for line in answer.stdout.splitlines()}


def test_the_plug_ins_show_the_same_names():
    cpu, cuda = (shown(PACKAGE, name) for name in ("cpu", "cuda"))
    assert len(cpu) > 30 and cpu == cuda


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("cuda/__init__.py", '"tensor", ', ""),
        ("cuda/tensor.py", '"library", ', ""),
        ("cpu/tensor.py", "def add_at(out: Any, key", "def add_at(out: Any, index: Any, key"),
        ("cuda/place.py", "def maxout_backward", "def _maxout_backward"),
        ("cuda/place.py", "    soft_losses =", "    more_losses = soft_losses ="),
    ],
)
def test_a_name_that_one_plug_in_lacks_is_found(copy, file, old, new):
    text = (copy / file).read_text("utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), "utf-8")
    assert shown(copy, "cpu") != shown(copy, "cuda")


#: What stands above the switch and imports CUDA's plug-in nevertheless.
BESIDE_THE_SWITCH = {
    "nbgrad.autograd.recording.captured": "captures CUDA graphs, for which the CPU has nothing",
    "nbgrad.regression.passes.device": "is the other device's half of regression/passes/host.py",
}


def test_cuda_is_asked_by_the_switch_alone():
    above = {name for name, others in graph(PACKAGE).items() if any(room(other) == "cuda" for other in others) and room(name) != "cuda"}
    assert above - {"nbgrad.place"} == set(BESIDE_THE_SWITCH)


FORMULA = '''

@scalar
def hardshrink(x, lambd):
    """x where |x| > lambd, else 0"""
    T = type(x)
    return T(0) if abs(x) <= lambd else x


@scalar
def d_hardshrink(x, lambd):
    """1 where |x| > lambd, else 0 (at the kinks too)"""
    T = type(x)
    return T(0) if abs(x) <= lambd else (T(1) if x == x else x)


ROWS = (
    *ROWS,
    Elementwise(hardshrink, d_hardshrink, {"lambd": 0.5}, textbook="0 if abs(x) <= lambd else x"),
)
'''
PUBLIC = '''

_hardshrink = Kernel(OPS["hardshrink"])


def hardshrink(x: Any, lambd: float = 0.5, out: Any = None) -> Any:
    """x where abs(x) > lambd, else 0."""
    return _hardshrink.forward(x, out, lambd)


def hardshrink_backward(grad_output: Any, x: Any, lambd: float = 0.5, out: Any = None) -> Any:
    """grad_output where abs(x) > lambd, else 0."""
    return _hardshrink.backward(grad_output, x, out, lambd)


__all__ += ["hardshrink", "hardshrink_backward"]
'''
USE = """
import numba, numpy as np, nbgrad
from nbgrad import functional, kernels
from nbgrad.testing import array, gradient_test
x = np.array([-2.0, 0.25, 3.0])
assert kernels.hardshrink(x).tolist() == [-2.0, 0.0, 3.0]
out = np.empty(3)
assert kernels.hardshrink_backward(np.full(3, 2.0), x, 2.5, out=out) is out and out.tolist() == [0.0, 0.0, 2.0]
assert numba.njit(lambda x: kernels.hardshrink(x, lambd=2.5))(x).tolist() == [0.0, 0.0, 3.0]
w = nbgrad.tensor(x, requires_grad=True)
functional.hardshrink(w).sum().backward()
assert w.grad.tolist() == [1.0, 0.0, 1.0]
gradient_test(kernels.hardshrink, kernels.hardshrink_backward, array(domain=(1.0, 3.0)))()
if {simulator}:
    from numba import cuda
    assert np.asarray(kernels.hardshrink(cuda.to_device(x)).copy_to_host()).tolist() == [-2.0, 0.0, 3.0]
print("used")
"""


def used(copy, use, simulator):
    """What is added to the copy, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(copy.parent), "NUMBA_OPT": "0"}  # unoptimised: in half the time
    environment |= {"NUMBA_ENABLE_CUDASIM": "1"} if simulator else {}
    answer = subprocess.run(
        [sys.executable, "-c", use.replace("{simulator}", str(simulator))], env=environment, cwd=copy.parent, capture_output=True, text=True
    )
    assert answer.stdout == "used\n", answer.stderr


@pytest.mark.parametrize("simulator", [False, True])
def test_an_activation_touches_two_files(copy, simulator):
    add(copy / "formulas" / "piecewise.py", FORMULA)
    add(copy / "kernels" / "activations_piecewise.py", PUBLIC)
    used(copy, USE, simulator)


MODEL = '''

from nbgrad.elementary.exponential import exp


@scalar
def exponential_loss(x, target):
    """−ln of the density e^x·e^(−t·e^x)"""
    return target * exp(x) - x


@scalar
def d_exponential_loss(x, target):
    """t·eˣ − 1"""
    return target * exp(x) - type(x)(1)


@scalar
def d2_exponential_loss(x, target):
    """t·eˣ"""
    return target * exp(x)


@scalar
def is_duration(t):
    return (t >= type(t)(0)) & is_finite(t)


SCORE_MODELS["exponential"] = ScoreModel(
    exponential_loss, d_exponential_loss, d2_exponential_loss, is_duration,
    targets="finite numbers >= 0",
    text="Negative logarithm of the density of an exponential distribution with the rate e^s, averaged.",
)
'''
USE_MODEL = """
import pickle
import numpy as np, scipy.optimize, scipy.sparse
from nbgrad import regression
from nbgrad.regression import Problem, dispatch
from nbgrad.testing import check_hessp, check_objective
rng = np.random.default_rng(0)
X, y, w, v = rng.normal(size=(40, 3)), rng.exponential(size=40), rng.normal(size=4), rng.normal(size=4)
objective, hessp = regression.exponential_value_and_grad, regression.exponential_hessp
scores = X @ w[:3] + w[3]
value, grad = objective(w, X, y, l2=0.5)
assert abs(value - ((y * np.exp(scores) - scores).mean() + 0.25 * w[:3] @ w[:3])) < 1e-12
check_objective(lambda w: objective(w, X, y, l2=0.5), w)
check_hessp(lambda w: objective(w, X, y)[1], lambda w, v: hessp(w, v, X, y), w)
assert scipy.optimize.check_grad(lambda w: objective(w, X, y)[0], lambda w: objective(w, X, y)[1], w) < 1e-5
product = hessp(w, v, X, y, l2=0.5)
def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
same(regression.exponential_hessian(w, X, y, l2=0.5) @ v, product)
loss, total, count = regression.exponential_sums(w, X, y)
same(loss / count + 0.25 * w[:3] @ w[:3], value)
for problem in (
    Problem("exponential", X, y, l2=0.5), Problem("exponential", scipy.sparse.csr_array(X), y, l2=0.5),
    dispatch.as_problem("exponential", [(X[:15], y[:15]), (X[15:], y[15:])], l2=0.5),
):
    same(problem.value_and_grad(w)[0], value)
    same(problem.value_and_grad(w)[1], grad)
    same(problem.hessian(w) @ v, product)
try:
    objective(w, X, np.where(y == y[7], -1.0, y))
except ValueError as error:
    assert str(error) == "y: expected finite numbers >= 0, got -1.0 at position 7", error
assert "finite numbers >= 0" in objective.__doc__.lower() and pickle.loads(pickle.dumps(objective)) is objective
if {simulator}:
    from numba import cuda
    there = Problem("exponential", cuda.to_device(X), cuda.to_device(y), l2=0.5)
    same(there.value_and_grad(w)[1], grad)
    same(there.hessp(w, v), product)
import sys
sys.path.append("REPOSITORY")
from bench.suites.regression import PASSES
assert "exponential" in [row[0] for row in PASSES]
print("used")
"""


@pytest.mark.parametrize("simulator", [False, True])
def test_a_regression_model_touches_one_file(copy, simulator):
    add(copy / "formulas" / "regression.py", MODEL)
    used(copy, USE_MODEL.replace("REPOSITORY", str(PACKAGE.parent)), simulator)


OPERATORS = '''
    def cosh(self) -> Self:
        """(eˣ + e⁻ˣ)/2; derivative sinh x."""
        return apply(Cosh(), (self,))

    def logaddexp(self, other: Any) -> Self:
        """ln(eˣ + eʸ); derivatives σ(x − y) and σ(y − x)."""
        return binary(LogAddExp, self, other)


Cosh = elementwise("Cosh", np.cosh, lambda g, x: g * np.sinh(x))
LogAddExp = elementwise("LogAddExp", np.logaddexp, lambda g, x, z: g * np.exp(x - z), lambda g, y, z: g * np.exp(y - z))
Sinh = elementwise("Sinh", np.sinh, lambda g, z: g * z)  # wrong: cosh x
'''
USE_OPERATORS = """
import numpy as np, nbgrad
from nbgrad.autograd.operators.elementwise import RULES
from nbgrad.testing import GradientError, check_autograd
x, y = np.array([[0.5, -2.0, 3.0]]), np.array([[1.0], [-0.25]])
w, v = (nbgrad.tensor(a, requires_grad=True, device="cuda" if {simulator} else "cpu") for a in (x, y))
z = w.cosh()
assert z.device == w.device and np.allclose(z.detach().cpu().numpy(), np.cosh(x), rtol=1e-15) and repr(z.grad_fn) == "<CoshBackward>"
z.sum().backward()
assert np.allclose(w.grad.cpu().numpy(), np.sinh(x), rtol=1e-15)
for one in (w.logaddexp(v), np.logaddexp(w, v)):
    assert one.requires_grad and np.allclose(one.detach().cpu().numpy(), np.logaddexp(x, y), rtol=1e-15)
assert type(np.cosh(w)) is nbgrad.Tensor and w.logaddexp(1.0).shape == x.shape and np.logaddexp(1.0, w).requires_grad
assert nbgrad.tensor(np.array([1, 2], np.int8)).cosh().dtype == np.float64
def there(*tensors):
    return [t.cuda() if {simulator} else t for t in tensors]
def check(f, *arrays):
    check_autograd(lambda *tensors: f(*there(*tensors)).cpu(), *arrays, framework="nbgrad", strict=True)
check(lambda x: x.cosh(), x)
check(np.cosh, x)
check(lambda x, y: x.logaddexp(y), x, y)
check(lambda x: x.logaddexp(0.5), x)
try:
    check(np.sinh, x)
except GradientError:
    assert {"Cosh", "LogAddExp"} <= set(RULES)
    print("used")
"""


@pytest.mark.parametrize("simulator", [False, True])
def test_an_operator_of_tensors_touches_one_file(copy, simulator):
    add(copy / "autograd" / "operators" / "functions.py", OPERATORS)
    used(copy, USE_OPERATORS, simulator)


def test_whether_something_is_a_tensor_is_asked_one_way():
    """By its class: `TensorBase` below `Tensor`, that one above. Where its elements are `autograd/devices.py` knows."""
    strange = re.compile(r"""hasattr\([^)]*["']_(node|data)["']|type\(\w+\) is (not )?np\.ndarray""")
    rooms = {"autograd", "functional", "module", "nn", "optim", "training"}
    found = [f"{path.name}: {line}" for name, path in modules(PACKAGE).items() if room(name) in rooms
             for line in path.read_text("utf-8").split("\n") if strange.search(line)]  # fmt: skip
    assert found == []
