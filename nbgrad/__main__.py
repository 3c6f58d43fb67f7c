"""`nbgrad` and `python -m nbgrad`: the command line as a process of its own."""

import os
import signal
import sys

__all__ = ["command"]


def command() -> None:
    """`nbgrad.cli.main`, which Ctrl-C ends with one line from the first moment on."""
    try:
        # While libraries are loaded an interrupt can come out anywhere, also as another error, and nothing is there yet
        # to be cleaned up: the process ends at once.
        waiting = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where the caller ignores it
        if waiting:
            signal.signal(signal.SIGINT, _leave)
        from nbgrad.cli import main
        from nbgrad.training import loop, predict  # noqa: F401

        if waiting:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main()
    except KeyboardInterrupt:
        _leave()
    sys.exit(status)


def _leave(*_: object) -> None:
    try:
        os.write(2, b"nbgrad: interrupted\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    command()
