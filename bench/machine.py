"""The machine a run was made on, as the JSON keeps it; and the same number of threads for everybody."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["describe", "limit_threads", "line", "optional", "set_threads", "usable_cores"]

#: what may be measured or measured by
PACKAGES = (
    "numpy", "numba", "scipy", "torch", "jax", "jaxlib", "scikit-learn", "numexpr", "autograd", "mpmath",
    "threadpoolctl", "numba-cuda", "cupy-cuda13x",
)  # fmt: skip
_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS", "NPROC",
)  # fmt: skip


def optional(name: str) -> Any:
    """A module, or None where it is not installed, which is said."""
    try:
        return __import__(name)
    except ImportError:
        print(f"{name}: not installed, not measured")
        return None


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Before anything is imported that starts threads: as many as ``threads`` for every library.

    The variables are what the libraries read (NPROC: XLA's). A library that reads none is held by the cores that
    the process may run on.
    """
    for name in _VARIABLES:
        os.environ[name] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def set_threads(threads: int) -> str:
    """The same by the libraries' own calls, where they have any; what was set, as a line."""
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        import threadpoolctl
    except ImportError:
        return f"{threads} threads, BLAS by its environment variables"
    threadpoolctl.threadpool_limits(threads)
    return f"{threads} threads"


def _cpu() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            for text in lines:
                if text.startswith("model name"):
                    return text.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _vectors() -> str:
    """The widest vector instructions Numba compiles for."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    return next((n for n in ("avx512f", "avx2", "avx", "neon", "sse2") if features.get(n)), "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """The current CUDA device's name; None without one."""
    try:
        import cupy

        return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())
    except Exception:  # no CuPy, no driver, no GPU
        return None


def describe(threads: int, command: str) -> dict[str, Any]:
    """Everything about a run but its records."""
    import nbgrad

    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "vectors": _vectors(),
        "gpu": _gpu() if {"gpu", "all"} & {*command.split()} else None,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "python": platform.python_version(),
        "versions": {"nbgrad": nbgrad.__version__, **{p: v for p in PACKAGES if (v := _version(p))}},
        "commit": _git("rev-parse", "HEAD"),
        "clean": None if changes is None else not changes,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def line(machine: dict[str, Any] | None = None) -> str:
    """One line for a table's heading."""
    machine = machine or describe(usable_cores(), "")
    versions = {"Python": machine["python"], **machine["versions"]}
    shown = {
        "Python": "Python",
        "numpy": "NumPy",
        "numba": "Numba",
        "torch": "PyTorch",
        "jax": "JAX",
        "scikit-learn": "scikit-learn",
    }
    several = [f"{title} {versions[name]}" for name, title in shown.items() if name in versions]
    vectors = f" ({machine['vectors']})" if machine["vectors"] else ""
    load = machine.get("load")
    # what runs beside takes time from some candidates and not from others
    busy = f"; BUSY: load {load:g} at the start" if load is not None and load > 0.5 else ""
    gpu = f"{machine['gpu']}; " if machine.get("gpu") else ""
    return (
        f"{gpu}{machine['cpu']}{vectors}, {machine['cores']} cores, {machine['threads']} threads; "
        + ", ".join(several)
        + busy
    )
