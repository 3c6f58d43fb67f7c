"""The disk cache: whatever lies there, results are right and no process dies."""

import fcntl
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from processes import COUNT, run

from nbgrad.jit import cache

RELU = """
import numpy as np
from nbgrad import kernels
print(float(kernels.relu(np.array([-1.0, 2.0]))[1]), compiled())
"""


def test_a_full_disk(tmp_path):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    assert run(COUNT + full + RELU, tmp_path).split()[0] == "2.0"
    assert not list(tmp_path.rglob("*.tmp.*")), "what could not be written is removed"
    assert run(COUNT + RELU, tmp_path).split()[0] == "2.0"
    assert run(COUNT + RELU, tmp_path) == "2.0 0"


# Each damage, then a loop that has not been loaded; each is a new object, as in a new process.
DAMAGE = """
import os, pickle, struct, sys
import numpy as np
from pathlib import Path
from nbgrad.jit import cache
from nbgrad.formulas import table as ops
from nbgrad.cpu import elementwise as cpu
folder = Path(os.environ["NUMBA_CACHE_DIR"])
x = np.array([-1.0, 2.0])
def value(f):
    before, out = compiled(), np.empty(2)
    assert cpu._elementwise(f, 1, ops.OPS["relu"], f.__name__)(2, x, out)
    return out.tolist(), compiled() > before
relu, other = ops.OPS["relu"].forward, ops.OPS["relu"].derivative
(own,) = (value(relu), list(folder.rglob("*.nbc")))[1]
(foreign,) = (value(other), set(folder.rglob("*.nbc")) - {own})[1]
right, length = own.read_bytes(), own.stat().st_size
class Raises:
    def __reduce__(self):
        return exec, ("raise RuntimeError('unpickled')",)
def sealed(content):
    return cache._head(own.name, content) + content
def at(place, new):
    return right[:place] + new + right[place + len(new):]
contents = {
    "nothing": b"", "garbage": b"garbage", "more garbage": os.urandom(length), "zeros": bytes(length), "a zero page": bytes(4096),
    "zeros at the start": at(0, bytes(4096)), "zeros in the middle": at(length // 2, bytes(512)),
    "zeros at the end": right[:-600] + bytes(600), "the head only": right[:40], "half": right[:length // 2],
    "one byte less": right[:-1], "one byte more": right + b"!", "another's": foreign.read_bytes(),
    "a length that nobody has": at(32, b"\\xff" * 8), "an endless memo": b"\\x80\\x04r\\xff\\xff\\xff\\xff.",
    "a pickle that raises, sealed": sealed(pickle.dumps(Raises())), "no compiled function, sealed": sealed(pickle.dumps(17)),
    **{f"a bit at {place}": at(place, bytes([right[place] ^ 1])) for place in (0, 31, 39, 40, length // 3, length - 1)},
}
for name, content in contents.items():
    own.write_bytes(content)
    assert value(relu) == ([0, 2], True), name
    assert value(relu) == ([0, 2], False), f"{name}: the file is whole again"
own.unlink(), own.symlink_to("/dev/zero")
assert value(relu) == ([0, 2], True) and value(relu) == ([0, 2], False), "a link to what never ends"
own.unlink(), os.mkfifo(own)
assert value(relu) == ([0, 2], True) and value(relu) == ([0, 2], False), "a pipe"
own.unlink(), own.mkdir()
assert value(relu) == ([0, 2], True), "a folder"
own.rmdir(), value(relu), own.chmod(0)
assert value(relu)[0] == [0, 2], "not readable"
foreign.replace(own)
assert value(relu) == ([0, 2], True) and value(other) == ([0, 1], True), "another loop's file in its place"
print("good")
"""


def test_damaged_files(tmp_path):
    """The loop is compiled anew, and its file replaced."""
    assert run(COUNT + DAMAGE, tmp_path) == "good"


KILLED = """
import os, signal
from nbgrad.jit import cache
cache.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    command = [sys.executable, "-c", COUNT + KILLED + RELU]
    assert subprocess.run(command, env=environment, cwd=os.sep, timeout=300).returncode == -signal.SIGKILL
    (left,) = tmp_path.rglob("*.nbc.tmp.*")
    assert run(COUNT + RELU, tmp_path).split()[0] == "2.0"
    assert not left.exists() and len(list(left.parent.iterdir())) == 1


def test_what_others_write_is_left_alone(tmp_path):
    base = "cpu.relu-0123456789abcdef-61.py311"
    orphans = [f"{base}.{'0' * 32}.nbc.tmp.00ff", f"{base}.nbi.tmp.00ff", f"{base}.12.nbc.tmp.00ff"]
    others = [
        f"{base}.{'0' * 32}.nbc", "cpu.cpython-311.pyc.140", "mine.f-61.py311.1.nbc.tmp.00ff", "mine.f-61.py311.nbi",
        f"{base}.nbi.tmp.", "notes.tmp.00ff",
    ]  # fmt: skip
    for name in orphans + others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f"{base}.7.nbc.tmp.0a").mkdir()
    living = tmp_path / f"{base}.{'1' * 32}.nbc.tmp.00ff"
    with open(living, "xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        cache.remove_orphans(tmp_path)
        kept = {*others, living.name, f"{base}.7.nbc.tmp.0a"}
        assert {path.name for path in tmp_path.iterdir()} == kept
    cache.remove_orphans(tmp_path)
    assert not living.exists()


@pytest.mark.parametrize("missing", ["_cache", "_impl", "cache_path", "_cache_file", "_dump", "_index_key"])
def test_a_numba_that_has_it_otherwise_keeps_its_own_cache(missing):
    def having(**attributes):
        return types.SimpleNamespace(**{name: value for name, value in attributes.items() if name != missing})

    own = having(
        _impl=types.SimpleNamespace(filename_base="f"),
        cache_path="folder",
        _cache_file=having(_dump=bytes),
        _index_key=None,
    )
    compiled = having(_cache=own, py_func=having)
    cache.attach(compiled)
    assert getattr(compiled, "_cache", own) is own
    assert getattr(own, "_index_key", None) is None
