"""What all tests share: hypothesis profiles, a matplotlib without windows, and MNIST where it is at hand."""

import functools
import importlib.util
import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"  # for the subprocesses too
# One BLAS thread, unless told otherwise: the products here are small, and OpenBLAS's threads wait for each other by
# spinning. With another process on one of two cores the trainings take 30 times as long. Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The same of OpenMP's threads, which Numba's parallel loops use: with two test processes on two cores a call of 20 µs
# takes 8 ms, two time slices of the system.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A worker of pytest-xdist ignores Ctrl-C, and the processes that it starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if os.environ.get("NBGRAD_DATA"):
    os.environ["NBGRAD_DATA"] = os.path.abspath(os.environ["NBGRAD_DATA"])  # tests run in other folders

import devices  # noqa: E402 (it imports NumPy)

collect_ignore = ["typed_program.py"]  # for the type checker alone: what it refuses is an error when it runs

# No deadline: the first example of a test may compile for a second.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
if devices.SIMULATED:
    settings.register_profile("simulator", settings(), max_examples=5, derandomize=True)
    settings.load_profile("simulator")


@functools.cache
def no_gpu() -> str:
    """Why tests on a GPU cannot run; empty where they can."""
    try:
        import cupy  # noqa: F401
        from numba import config, cuda
    except ImportError as error:
        return f"no GPU: {error}"
    return "" if cuda.is_available() and not config.ENABLE_CUDASIM else "no GPU"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The fixture ``device``: a test that takes it runs on each that this process has."""
    if "device" in metafunc.fixturenames:
        where = devices.ALL
        if devices.SIMULATED and metafunc.definition.get_closest_marker("unsimulated"):
            where = (devices.CPU,)  # which `-m cudasim` leaves out
        marked = [pytest.param(d, id=d.name, marks=() if d.cpu else getattr(pytest.mark, d.name)) for d in where]
        metafunc.parametrize("device", marked)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is a case for a GPU's sake (`devices.on_a_gpu`) is none of the CPU's."""
    items[:] = [i for i in items if not (i.get_closest_marker("gpu") and _of(i) is devices.CPU)]


def _of(item: pytest.Item) -> object:
    return item.callspec.params.get("device") if hasattr(item, "callspec") else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("mnist"):
        from nbgrad.datasets import MNIST_SHA256

        folder = os.environ.get("NBGRAD_DATA")
        if not folder:
            pytest.skip("NBGRAD_DATA does not name a folder with MNIST's files")
        for name in MNIST_SHA256:
            if not any(Path(folder, name + suffix).is_file() for suffix in ("", ".gz")):
                pytest.skip(f"NBGRAD_DATA: {folder} has no {name}")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist asks, where it is installed
def pytest_xdist_make_scheduler(config, log):
    """All tests of one operator run in one process, wherever they stand; of the others all tests of one file.

    Most of the time goes into compiling, and what one process has compiled another one compiles again, unless it is found in
    the disk cache. Two files of tests side by side would go through the table of operators in the same order at the same
    time, and compile everything twice.
    """
    if config.option.dist != "load":  # chosen by --dist
        return None
    from xdist.scheduler import LoadScopeScheduling

    from nbgrad.formulas.table import OPS

    class ByOperator(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            words = re.findall(r"\w+", test.partition("[")[2])
            names = (word.removeprefix("d_").removesuffix("_backward") for word in words)
            return next((name for name in names if name in OPS), file)

    return ByOperator(config, log)


@pytest.fixture
def mnist_folder() -> Path:
    """The folder of MNIST's four files, for tests marked ``mnist``."""
    return Path(os.environ["NBGRAD_DATA"])
