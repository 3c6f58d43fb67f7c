"""The libraries that nbgrad is measured beside, each in a file of its own; `find` makes those that are installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from bench.peers.base import Peer

__all__ = ["NAMES", "find"]

#: name on the command line: module, class, whether it takes the number of threads
_PEERS: dict[str, tuple[str, str, bool]] = {
    "torch": ("pytorch", "PyTorch", True),
    "compile": ("compiled", "Compiled", True),
    "jax": ("xla", "Jax", False),
    "sklearn": ("scikit", "ScikitLearn", True),
    "scipy": ("arrays", "SciPy", False),
    "numpy": ("arrays", "NumPy", False),
    "numexpr": ("arrays", "Numexpr", True),
    "numba": ("arrays", "Numba", False),
    "autograd": ("hips", "Autograd", False),
}
NAMES = tuple(_PEERS)


def find(names: Sequence[str], threads: int) -> tuple[dict[str, Peer], dict[str, str]]:
    """(peers that can be used, why the others cannot)."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        module, kind, takes_threads = _PEERS[name]
        arguments: tuple[Any, ...] = (threads,) if takes_threads else ()
        try:
            found[name] = getattr(importlib.import_module(f"bench.peers.{module}"), kind)(*arguments)
        except ImportError as error:
            missing[name] = f"not installed ({error.name})"
        except Exception as error:  # torch.compile without a C++ compiler, a broken installation
            text = str(error).strip().splitlines()
            missing[name] = f"{type(error).__name__}: {text[0] if text else ''}"[:200]
    return found, missing
