"""Ctrl-C that cannot get lost: Python drops an exception that is raised in a finaliser, in a weak reference's callback
or in a function that C calls (LLVM's, while a kernel is compiled), and with it a KeyboardInterrupt that comes there;
and a C library that is being loaded makes another error of it ("initialization failed").
"""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """Within it Ctrl-C is a KeyboardInterrupt, as ever, and once more at the next `check`, if that got lost, or at the
    end, if a library made an ImportError or a SystemError of it. Where the caller has a handler of its own, or in
    another thread than the main one, nothing is changed. Within another one the other one serves.
    """

    came = False
    _ours = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, Interrupts):
                return outer
            if handler is signal.default_int_handler:
                self._ours = True
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, _: Any, error: Any, __: Any) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.came and isinstance(error, ImportError | SystemError):
            raise KeyboardInterrupt from error

    def _note(self, *_: Any) -> None:
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.came:
            raise KeyboardInterrupt
