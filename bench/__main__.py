"""``python -m bench NAME``: run one of the suites below, or all of them; look at results, compare them."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

#: what `all` runs, in this order
SUITES = {
    "elementwise": "every activation, forward and backward, over array size",
    "rows": "softmax, log_softmax, logsumexp and maxout, forward and backward",
    "losses": "every loss and cross-entropy: value, value and gradient",
    "formulas": "users' formulas (nbgrad.differentiable): value and all gradients",
    "regression": "loss and gradient of the regression models, Hessian products, whole fits",
    "autograd": "eager overhead: chains, the graph of four weights, steps of an MLP",
    "training": "epochs and time to an accuracy of softmax regression and an MLP on MNIST",
    "accuracy": "worst error of each kernel in units in the last place, beside its peers'",
    "startup": "import time, first calls, whole `nbgrad train`",
    "gpu": "the kernels on a GPU",
}
#: commands of their own
TOOLS = {
    "pictures": "draw a result",
    "compare": "what got slower between two results",
    "readme": "write results/full.md, its pictures and the README's tables from results",
    "defects": "what nbgrad.testing has found in PyTorch and JAX, beside mpmath",
    "distributed": "Dask: scaling from 1 to 2 workers, the cost of a task, bytes that travel",
    "false-alarms": "right functions that nbgrad.testing must pass",
    "foreign-suite": "scikit-learn's own tests of its estimators, run on ours",
    "faults": "planted faults: which nbgrad.testing finds, and which its peers",
    "minimax": "derive the polynomials of nbgrad.elementary again",
    "mutants": "mutations of every formula and derivative: which the gradient tests find",
}


def _module(name: str) -> Any:
    return importlib.import_module(("bench.suites." if name in SUITES else "bench.tools.") + name.replace("-", "_"))


def _parser(name: str | None) -> argparse.ArgumentParser:
    """Only the named command's module is imported: all of them would take seconds."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="suite", required=True, metavar="NAME")
    every = {"all": "all of the suites: " + ", ".join(SUITES)}
    for command, text in {**SUITES, **every, **TOOLS}.items():
        chosen = command == name
        described = _module(command).__doc__ if chosen and command != "all" else text
        one = commands.add_parser(
            command, help=text, description=described, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if chosen and (command == "all" or command in SUITES):
            _common(one)
        if chosen and command != "all":
            _module(command).add_arguments(one)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    from bench.peers import NAMES

    parser.add_argument("--quick", action="store_true", help="few sizes and rounds: seconds, not minutes")
    parser.add_argument("--rounds", type=int, help="more or fewer than each suite has of itself")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=[*NAMES, "none"],
        metavar="NAME",
        help="of " + ", ".join(NAMES) + " (default: all; none)",
    )
    parser.add_argument("--threads", type=int, help="for everybody (default: as many as there are cores)")
    parser.add_argument("--save", metavar="FILE.json", help="keep the result, and a page of it beside it (.md)")
    parser.add_argument("--pictures", metavar="FOLDER", help="draw the result's pictures into it")


def _threads(arguments: list[str]) -> int:
    """Asked before anything is imported that starts threads."""
    from bench.machine import limit_threads, usable_cores

    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--threads", type=int)
    given = early.parse_known_args(arguments)[0].threads
    if given is not None and not 1 <= given <= usable_cores():
        sys.exit(f"--threads: expected 1 to {usable_cores()}, got {given}")
    threads = given or usable_cores()
    limit_threads(threads)
    return threads


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    name = next((w for w in words if not w.startswith("-")), None)
    if name in SUITES or name == "all":
        threads = _threads(words)
    try:
        parser = _parser(name)
    except ModuleNotFoundError as error:
        sys.exit(f'{name}: {error.name} is not installed: pip install ".[bench]"')
    given = parser.parse_args(words)
    if name not in SUITES and name != "all":
        return int(_module(str(name)).run(given) or 0)
    from bench.run import run

    return run(words, given, list(SUITES) if name == "all" else [str(name)], threads)


if __name__ == "__main__":
    sys.exit(main())
