"""What `nbgrad info` shows: the facts that a bug report needs."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import platform

import numba
from numba import config

from nbgrad import __version__, datasets
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas import table as ops
from nbgrad.jit.arithmetic import arithmetic

__all__ = ["info"]


def info() -> dict[str, str]:
    """Versions, threads, threading layer, CUDA state and folders by name. Starts no thread and no GPU.

    >>> info()["nbgrad"]
    '0.2.0'
    """
    return {
        "nbgrad": __version__,
        "Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **{name: _version(name) for name in ("NumPy", "Numba", "SciPy", "matplotlib")},
        "threads": f"{config.NUMBA_NUM_THREADS} on {os.cpu_count()} cores",
        "threading layer": _threading_layer(),
        "arithmetic": arithmetic() or "the default: subnormal numbers kept, rounded to nearest",
        "CUDA": _cuda(),
        "kernel cache": _kernel_cache(),
        "MNIST folder": _mnist_folder(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _threading_layer() -> str:
    try:
        return numba.threading_layer()
    except ValueError:  # the first parallel loop chooses it, and to show it is no reason to start threads
        return "not chosen yet: the first parallel loop will be the moment"


def _cuda() -> str:
    """Told from what is installed: importing the CUDA target or asking the driver would start it."""
    versions = (_version(name) for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy"))
    cupy = next((version for version in versions if version != "not installed"), "not installed")
    library = "nvcuda" if os.name == "nt" else "cuda"
    driver = "found" if ctypes.util.find_library(library) else "not found"
    return f"numba-cuda: {_version('numba-cuda')}, CuPy: {cupy}, driver: {driver}"


def _kernel_cache() -> str:
    """Where Numba keeps the compiled loops. It decides that itself; the question compiles nothing."""
    if config.DISABLE_JIT:
        return "none: NUMBA_DISABLE_JIT is set, and kernels cannot run"
    path = cpu.forward(ops.OPS["relu"]).serial.stats.cache_path
    return path or "none: no folder for it can be written"


def _mnist_folder() -> str:
    folder = os.environ.get("NBGRAD_DATA")
    if folder:
        return f"{folder} (from NBGRAD_DATA)"
    path = datasets.cache_folder() / "mnist"
    return f"{path} ({'exists' if path.is_dir() else 'not downloaded yet'})"
