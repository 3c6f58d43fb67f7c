"""Forks while other threads compile: no child hangs. (Each test runs a process of its own.)"""

import os
import threading

import pytest
from processes import run

from nbgrad.jit.locks import lazy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

FORK = """
import os, signal, threading, time, warnings
import numpy as np
from nbgrad import jit, kernels
from nbgrad.jit import locks
from nbgrad.formulas import table as ops
from nbgrad.cpu import elementwise as cpu
warnings.simplefilter("ignore")  # Python warns of a fork beside threads
x = np.array([-1.0, 2.0])
def fresh(name="relu"):
    out = np.empty(2)
    assert cpu._elementwise(ops.OPS[name].forward, 1, ops.OPS[name], name)(2, x, out)
    return out.tolist()
def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a child that hangs is killed, and is no success
        os._exit(0 if fresh() == [0, 2] else 1)
    return os.waitpid(pid, 0)[1]
"""


def test_while_a_thread_compiles(tmp_path):
    """Kernels of several kinds, serial and parallel; the child compiles one that is in nobody's cache, too."""
    code = """
done = threading.Event()
def compile_everything():
    big = np.zeros(40_000)
    for f in (kernels.softsign, kernels.relu6, kernels.hardsigmoid, kernels.hardswish):
        f(big)
        f(big[:10])
    done.set()
thread = threading.Thread(target=compile_everything)
thread.start()
statuses = []
while not done.is_set() and len(statuses) < 25:
    time.sleep(0.02 + 0.013 * (len(statuses) % 5))
    statuses.append(fork())
thread.join()
print(len(statuses) > 3, set(statuses))
"""
    assert run(FORK + code, tmp_path, NUMBA_NUM_THREADS="2") == "True {0}"


@pytest.mark.parametrize("patience", [60.0, 0.2])
@pytest.mark.parametrize("lock", range(3))
def test_while_a_thread_holds_one_of_the_locks(lock, patience, tmp_path_factory):
    """The fork waits for it; where it waits in vain, the child has a new one."""
    code = f"""
assert len(locks._locks()) == 3
lock, locks._PATIENCE = locks._locks()[{lock}], {patience}
taken, leave = threading.Event(), threading.Event()
def hold():
    with lock:
        taken.set()
        leave.wait(1 if locks._PATIENCE > 1 else 60)
thread = threading.Thread(target=hold)
thread.start()
taken.wait()
start = time.monotonic()
print(fork(), locks._held.missed == (() if locks._PATIENCE > 1 else (lock,)))
leave.set()
thread.join()
assert fresh() == [0, 2]
"""
    cache = tmp_path_factory.getbasetemp() / "numba_of_locks"  # one for all: the child's kernel is loaded, under the same lock
    assert run(FORK + code, cache) == "0 True"


def test_a_fork_within_the_locks(tmp_path):
    """A thread that compiles forks itself (a signal's handler may): its locks stay taken, in the child too."""
    code = """
with jit.locks.compiler_lock:
    print(fork())
    assert jit.locks.compiler_lock.is_locked()
other = []
thread = threading.Thread(target=lambda: other.append(fresh()))
thread.start(), thread.join(60)
print(other)
"""
    assert run(FORK + code, tmp_path).split("\n") == ["0", "[[0.0, 2.0]]"]


def test_lazy():
    class Thing:
        made = 0

        @lazy
        def value(self):
            """What it is."""
            self.made += 1
            started.wait(20)
            return object()

    thing, started, found = Thing(), threading.Barrier(2), []
    threads = [threading.Thread(target=lambda: found.append(thing.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1] is thing.value and thing.made == 2
    assert isinstance(Thing.value, lazy)
