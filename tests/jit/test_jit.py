"""Compilation policy: nothing at import, a cache that is never stale and never fails, when a loop runs parallel. (Threads and forks:
``tests/jit/test_threads.py``.)

Most tests run a process of their own, on a cache folder of their own.
"""

import ctypes
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numba import njit, prange
from processes import COUNT, PACKAGE, run

from nbgrad import formulas, jit


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, to be edited."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "copy" / "nbgrad", ignore=shutil.ignore_patterns("__pycache__")))


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    status = file.stat()
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # not even the time of the change gives it away


def test_nothing_happens_at_import(tmp_path):
    code = """
import sys
import numba
import nbgrad, nbgrad.kernels, nbgrad.cpu.elementwise, nbgrad.cpu.rows
try:
    layer = numba.threading_layer()
except ValueError:
    layer = "none"
cuda = [name for name in sys.modules if name.startswith("numba.cuda")]
print(compiled(), layer, cuda)
"""
    assert run(COUNT + code, tmp_path / "cache") == "0 none []"
    assert not (tmp_path / "cache").exists()


SIGMOID = """
import numpy as np
from nbgrad import kernels
print(float(kernels.sigmoid(np.zeros(3))[0]), compiled())
"""


EVERY_KIND = """
import numpy as np
from nbgrad import kernels, regression
for classes in (200, 10):
    x, labels = np.zeros((3, classes), np.float32), np.zeros(3, np.int64)
    kernels.softmax(x)
kernels.softmax_backward(x, x), kernels.cross_entropy_value_and_grad(x, labels)
kernels.sigmoid_backward(x, x), kernels.mse_loss_value_and_grad(x, x), kernels.maxout(x, 2)
regression.softmax_value_and_grad(np.zeros((3, classes + 1)), x, labels)
regression.softmax_hessp(*np.zeros((2, 3, classes + 1)), x, labels)
regression.logistic_value_and_grad(np.zeros(classes + 1), x, labels)
regression.logistic_hessp(*np.zeros((2, classes + 1)), x, labels)
print(compiled())
"""


def test_a_second_process_compiles_nothing(tmp_path):
    """Every kind of loop; rows of few entries and of many are different ones."""
    code, prefix = COUNT + EVERY_KIND, str(tmp_path / "pyc")
    unoptimised = {"NUMBA_OPT": "0"}  # in half the time
    assert int(run(code, tmp_path / "cache", PYTHONPYCACHEPREFIX=prefix, PYTHONDONTWRITEBYTECODE="", **unoptimised)) > 0
    # with and without the .pyc files that the first one wrote: Numba's own key, the pickled closure, is not the same
    assert run(code, tmp_path / "cache", PYTHONPYCACHEPREFIX=prefix, **unoptimised) == "0"
    assert run(code, tmp_path / "cache", PYTHONPYCACHEPREFIX=str(tmp_path / "none"), **unoptimised) == "0"


def test_the_cache_is_used_and_never_stale(copy, tmp_path):
    cache = tmp_path / "cache"
    value, count = run(COUNT + SIGMOID, cache, package=copy).split()
    assert value == "0.5" and int(count) > 0
    assert run(COUNT + SIGMOID, cache, package=copy) == "0.5 0", "the second process compiles nothing"

    old, new = (
        "return quotient(T(1) if x >= T(0) else e, T(1), e)",
        "return quotient(T(3) if x >= T(0) else e, T(1), e)",
    )
    edit(copy / "formulas" / "classic.py", old, new)
    assert run(COUNT + SIGMOID, cache, package=copy).split()[0] == "1.5", "a formula was edited"
    edit(copy / "formulas" / "classic.py", new, old)
    assert run(COUNT + SIGMOID, cache, package=copy) == "0.5 0"

    old, new = "return _fma(_fma(-y, error,", "return y + _fma(_fma(-y, error,"
    edit(copy / "elementary" / "division.py", old, new)
    assert run(COUNT + SIGMOID, cache, package=copy).split()[0] != "0.5", "a function below the formula was edited"


def test_an_edit_under_a_running_process_does_not_poison_the_cache(copy, tmp_path):
    cache = tmp_path / "cache"
    code = f"""
import pathlib
from nbgrad import kernels
file = pathlib.Path({str(copy)!r}, "formulas", "classic.py")
old = "return T(0) if x < T(0) else x"
assert old in file.read_text()
file.write_text(file.read_text().replace(old, "return T(7) if x < T(0) else x"))
print(float(kernels.relu(-1.0)))
"""
    assert run(code, cache, package=copy) == "0.0", "this process runs what it imported"
    assert run("from nbgrad import kernels; print(float(kernels.relu(-1.0)))", cache, package=copy) == "7.0"


def test_a_function_is_compiled_once_for_all_its_callers(tmp_path):
    """Not once more for the frame that Numba puts around a parallel loop, nor for callers with other options."""
    code = """
import collections, numpy as np
from numba.core import event
from nbgrad import kernels
x = np.zeros(100_000)
with event.install_recorder("numba:compile") as recorder:
    kernels.elu_backward(x, x), kernels.softmax(x.reshape(-1, 10))
compiled = [(e.data["dispatcher"].py_func, e.data["args"]) for _, e in recorder.buffer if e.is_start]
counts = collections.Counter((f, args) for f, args in compiled if f.__module__.startswith("nbgrad."))
print(len(counts) > 5, [(f.__qualname__, args) for (f, args), n in counts.items() if n > 1])
"""
    assert run(code, tmp_path / "cache") == "True []"


def test_helpers_are_compiled_into_what_calls_them(tmp_path):
    """LLVM optimises and makes machine code of the loop alone, not of each function in it; meanwhile no garbage is collected."""
    code = """
import gc, numpy as np
from numba.core import codegen
from nbgrad import kernels
made, optimise = [], codegen.CPUCodeLibrary._optimize_final_module
def counted(self):
    made.append((self.name, gc.isenabled()))
    optimise(self)
codegen.CPUCodeLibrary._optimize_final_module = counted
kernels.softmax(np.zeros((3, 4))), kernels.cross_entropy(np.zeros((3, 4)), np.zeros(3, np.int64))
own = [(name.partition("-")[0], *rest) for name, *rest in made if not name.startswith(("ol_", "_ol_", "_call_", "np_", "nrt"))]
print(sorted(own), gc.isenabled())
"""
    assert run(code, tmp_path / "cache") == "[('cross_entropy_short_rows', False), ('softmax_short_rows', False)] True"


def test_a_first_call_imports_no_scipy(tmp_path):
    """Numba's first compilation would; compiled products have their BLAS nevertheless."""
    code = """
import sys, numpy as np
from numba import njit
from nbgrad import kernels
print(kernels.sigmoid(np.zeros(3))[0], "scipy.linalg" in sys.modules, njit(lambda x: np.dot(x, x))(np.eye(2) + 1)[0, 0])
"""
    assert run(code, tmp_path / "cache") == "0.5 False 5.0"


def test_every_compiled_source_is_hashed():
    """A module that compiled code may come from is named, or lies in a folder that is."""
    named = {PACKAGE / entry for entry in jit.sources.COMPILED_SOURCES}
    for entry in ("formulas", "elementary", "jit", "cpu", "cuda"):
        assert PACKAGE / entry in named and (PACKAGE / entry).exists()


def test_an_edit_of_a_loop_in_another_room(copy, tmp_path):
    code = """
import numpy as np
from nbgrad.regression.linear.refine import _double_precision_sum as loop
high, low = np.zeros(1), np.zeros(1)
loop.serial(np.ones(1), np.ones(1), high, low)
print(high[0] + low[0], compiled() > 0)
"""
    assert run(COUNT + code, tmp_path / "cache", package=copy) == "2.0 True"
    assert run(COUNT + code, tmp_path / "cache", package=copy) == "2.0 False"
    edit(copy / "regression" / "linear" / "refine.py", "low[j] += carry + more_low[j]", "low[j] += carry + 5.0")
    assert run(COUNT + code, tmp_path / "cache", package=copy) == "6.0 True"


MINE = """
import constants
from helper import scaled
from numba import njit
from nbgrad.jit import Loop
VALID = 1.0
@njit
def checked(x):
    return x if VALID else -x
def _loop(x, out):
    for i in range(x.size):
        out[i] = checked(scaled(x[i])) + constants.OFFSET + constants.TABLE[0]
loop = Loop(_loop, name="mine")
"""
HELPER = """
from nbgrad.jit import scalar
FACTOR = 2.0
@scalar
def scaled(x):
    return x * FACTOR if x in (1.0, 2.0) else x
"""


def test_what_a_loop_leads_to_is_in_its_key(copy, tmp_path):
    """Functions and constants, in the loop's module and in others."""
    code = "import mine, numpy as np; out = np.empty(1); mine.loop(1, np.ones(1), out); print(out[0], compiled() > 0)"
    files = {"mine.py": MINE, "helper.py": HELPER, "constants.py": "import numpy as np\nOFFSET = 10.0\nTABLE = np.array([0.0])"}
    for name, text in files.items():
        (copy.parent / name).write_text(text)
    answers = [run(COUNT + code, tmp_path / "cache", package=copy) for _ in range(2)]
    for name, old, new in [
        ("helper.py", "FACTOR = 2.0", "FACTOR = 3.0"), ("helper.py", "else x", "else -x"), ("mine.py", "VALID = 1.0", "VALID = 0.0"),
        ("constants.py", "10.0", "20.0"), ("constants.py", "[0.0]", "[100.0]"), ("helper.py", "(1.0, 2.0)", "(2.0, 3.0)"),
    ]:  # fmt: skip
        edit(copy.parent / name, old, new)
        answers.append(run(COUNT + code, tmp_path / "cache", package=copy))
    values = ["12.0", "12.0", "13.0", "13.0", "7.0", "17.0", "117.0", "121.0"]
    assert answers == [f"{value} {k != 1}" for k, value in enumerate(values)]


def test_without_compilation(tmp_path):
    """NUMBA_DISABLE_JIT=1: kernels say what to unset, in a user's function too; formulas run as Python."""
    code = """
import numpy as np
from numba import njit
from nbgrad import formulas, kernels, regression
from nbgrad.elementary import exp
from nbgrad.training.info import info
x, w, many = np.zeros((3, 2)), np.zeros(3), np.zeros(100_000)
@njit
def mine(x):
    return kernels.sigmoid(x)
for call in (
    lambda: kernels.sigmoid(w), lambda: mine(w), lambda: mine(0.5), lambda: kernels.tanh(many), lambda: kernels.softmax(x),
    lambda: regression.logistic_value_and_grad(w, x, np.array([0, 1, 1])), lambda: kernels.mse_loss(x, x),
):
    try:
        call()
    except RuntimeError as error:
        assert str(error).startswith("NUMBA_DISABLE_JIT: expected to be unset or 0, got 1"), error
    else:
        raise AssertionError("no error")
assert formulas.sigmoid(0.0) == 0.5 and exp(0.0) == 1.0
print(info()["kernel cache"])
"""
    assert run(code, tmp_path, NUMBA_DISABLE_JIT="1").startswith("none: NUMBA_DISABLE_JIT is set")


def test_without_a_folder_for_the_cache(copy, tmp_path):
    """Neither the named folder, nor the package's, nor the user's can be written: compiled in each process."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    for folder in [copy, *(p for p in copy.iterdir() if p.is_dir())]:
        (folder / "__pycache__").write_text("")
    for _ in range(2):
        value, count = run(
            COUNT + SIGMOID.replace("sigmoid", "relu"),
            blocked / "cache",
            package=copy,
            HOME=str(blocked),
            XDG_CACHE_HOME=str(blocked),
        ).split()
        assert value == "0.0" and int(count) > 0


READ_ONLY = """
import os, sys
def refuse(event, arguments):
    if event in ("os.mkdir", "os.remove", "os.rename") or (
        event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and arguments[0] != os.devnull
    ):
        raise PermissionError(13, "read-only", arguments[0])
sys.addaudithook(refuse)
"""


def test_a_filled_cache_that_cannot_be_written(tmp_path):
    """Nothing fails, and nothing is changed. (Numba does not read a folder where it cannot write: compiled in each process.)"""
    relu = COUNT + SIGMOID.replace("sigmoid", "relu")
    assert run(relu, tmp_path).split()[0] == "0.0"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert before
    assert run(READ_ONLY + relu, tmp_path).split()[0] == "0.0"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def recording_loop(**options):
    calls = []
    loop = jit.Loop(lambda x: None, name="recording", **options)
    loop.__dict__["serial"] = lambda *a: calls.append("serial")
    loop.__dict__["parallel"] = lambda *a: calls.append("parallel")
    return loop, calls


def test_small_work_is_serial_large_work_parallel():
    loop, calls = recording_loop(threshold=100)
    for work in (0, 100, 101):
        loop(work, None)
    assert calls == ["serial", "serial", "parallel"]


def test_a_second_thread_runs_serially_while_the_first_is_in_parallel():
    loop, calls = recording_loop(threshold=0)
    inside, leave = threading.Event(), threading.Event()

    def slow(*arguments):
        calls.append("parallel")
        inside.set()
        assert leave.wait(20)

    loop.__dict__["parallel"] = slow
    thread = threading.Thread(target=loop, args=(1,))
    thread.start()
    assert inside.wait(20)
    loop(1)
    leave.set()
    thread.join()
    assert calls == ["parallel", "serial"]


def test_an_error_in_a_parallel_loop_frees_the_threads():
    loop, calls = recording_loop(threshold=0)

    def fail(*arguments):
        raise MemoryError

    loop.__dict__["parallel"] = fail
    with pytest.raises(MemoryError):
        loop(1)
    loop.__dict__["parallel"] = lambda *a: calls.append("parallel")
    loop(1)
    assert calls == ["parallel"]


def test_serial_loops():
    loop, calls = recording_loop(threshold=0)
    with jit.serial_loops():
        loop(1)
        with jit.serial_loops():
            pass
        loop(1)
        thread = threading.Thread(target=loop, args=(1,))  # another thread is not concerned
        thread.start()
        thread.join()
    loop(1)
    assert calls == ["serial", "serial", "parallel", "parallel"]


def test_a_loop_is_compiled_from_a_copy():
    """Serial and parallel names do not meet in one function, whichever thread compiles first."""

    def plain(x):
        for i in prange(x.size):
            x[i] += 1

    loop = jit.Loop(plain, name="plain", threshold=1)
    assert loop.serial.py_func is not loop.parallel.py_func
    assert plain.__qualname__.endswith("plain") and "-" not in plain.__qualname__
    x = np.zeros(3)
    loop(0, x)
    loop(10, x)
    assert (x == 2).all()


def test_scalar_functions_stay_plain_and_keep_their_own_flags():
    """A caller's reassoc would fold (x + big) − big to x; and a function of numbers is the function that was written."""

    def rounded(x):
        return (x + 1e17) - 1e17

    assert jit.scalar(rounded) is rounded and formulas.sigmoid(0.0) == 0.5

    @njit(fastmath={"reassoc", "nsz", "contract"})
    def loop(x):
        for i in range(x.size):
            x[i] = rounded(x[i])
        return x

    assert (loop(np.full(9, 3.0)) == 0).all()


def test_an_interrupted_call_leaves_no_lock_behind(tmp_path):
    """Ctrl-C while a loop compiles or runs: the next parallel call does not find the threads taken."""
    code = """
import os, signal, threading, time, numpy as np
from nbgrad import jit, kernels
x = np.zeros(2_000_000, np.float32)
def interrupt():
    while True:  # again, because an exception in a callback of LLVM's or of the garbage collector's is lost
        time.sleep(0.2)
        signal.raise_signal(signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    while True:
        kernels.tanh(x)
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
print(jit.loop._parallel.locked(), flush=True)
os._exit(0)  # Python itself remembers the interrupt in its exit status
"""
    assert run(code, tmp_path / "cache") == "False"


def interrupted(action, check, rounds=2000):
    """``check`` after each of many interrupts that met a thread in ``action``, at any moment of it."""
    found, ready, before = [], threading.Semaphore(0), sys.getswitchinterval()

    def work():
        for _ in range(rounds):
            try:
                ready.release()
                while True:
                    action()
            except KeyboardInterrupt:
                found.append(check())

    thread = threading.Thread(target=work)
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for number in range(rounds):
            assert ready.acquire(timeout=60)
            for _ in range(number % 50):
                pass
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
        thread.join(60)
    finally:
        sys.setswitchinterval(before)
    return found


def test_an_interrupt_at_any_moment_leaves_no_lock_behind():
    """Ctrl-C between taking the lock and guarding it would make kernels serial for ever."""
    loop, _ = recording_loop(threshold=0)
    loop.__dict__["serial"] = loop.__dict__["parallel"] = lambda *arguments: None
    assert interrupted(lambda: loop(1, None), jit.loop._parallel.locked) == [False] * 2000


def test_a_call_past_the_dispatcher_leaves_it_as_it_was():
    """Compiled for the same types by another name, the dispatcher knew two functions, and each call took 27 µs."""
    for numbers in ((), (1.5,), (1.5, 2.5)):
        loop = jit.Loop(lambda x, out, *numbers: out.size + len(numbers), typed=(2, len(numbers)))
        x = np.ones(3, np.float32)
        direct = loop.serial_of[x.dtype](x, x, numbers)
        assert direct == loop.serial(x, x, *numbers) == loop.of_dtype(x.dtype, 3, x, x, numbers) == 3 + len(numbers)
        stats = loop.serial.stats
        assert sum(stats.cache_hits.values()) + sum(stats.cache_misses.values()) == 1


def test_without_the_way_past_the_dispatcher_it_is_asked(monkeypatch):
    monkeypatch.setattr(jit.loop, "prebound", lambda compiled, args: (compiled, args))
    loop, x = jit.Loop(lambda x, out, *numbers: out.size + len(numbers), typed=(2, 1)), np.ones(3)
    assert loop.of_dtype(x.dtype, 3, x, x, (0.5,)) == 4
