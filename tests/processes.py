"""Processes of their own, on a cache folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

import nbgrad

PACKAGE = Path(nbgrad.__file__).parent
# Prints how many functions Numba compiled, beside the results.
COUNT = """
from numba.core import event
recording = event.install_recorder("numba:compile")
recorder = recording.__enter__()
def compiled():
    return sum(e.is_start for _, e in recorder.buffer)
"""


def run(code, cache, *, package=PACKAGE, **environment):
    """The standard output of ``code``, run in a new process by the package in the folder ``package``."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    env |= {
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": str(Path(package).parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, cwd=os.sep, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
    return done.stdout.strip()
