"""The kernels on a GPU: `bench.gpu`, where that module and a GPU are there."""

from __future__ import annotations

import argparse
import glob
import importlib.util
from collections.abc import Iterable

from bench.session import Job, Session


def lacking() -> str | None:
    """What is missing for a measurement, or None."""
    if importlib.util.find_spec("bench.gpu") is None:
        return "this version of nbgrad has no GPU benchmarks (bench/gpu.py)"
    if importlib.util.find_spec("numba_cuda") is None:
        return 'numba-cuda is not installed: pip install ".[cuda]"'
    if not glob.glob("/dev/nvidia[0-9]*") and not glob.glob("/dev/dxg"):
        return "this machine has no NVIDIA GPU"
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    if lacking() is None:
        importlib.import_module("bench.gpu").add_arguments(parser)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    why = lacking()
    if why is None:
        yield from importlib.import_module("bench.gpu").jobs(session, arguments)
    else:
        session.missing["gpu"] = why
