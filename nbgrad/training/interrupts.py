"""Ctrl-C that cannot get lost: Python drops an exception that is raised in a finaliser, in a weak reference's callback
or in a function that C calls (LLVM's, while a kernel is compiled), and with it a KeyboardInterrupt that comes there.
"""

from __future__ import annotations

import signal
import threading
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """Within it Ctrl-C is a KeyboardInterrupt, as ever, and once more at the next `check`, if that got lost. Where the
    caller has a handler of its own, or in another thread than the main one, nothing is changed.
    """

    came = False
    _ours = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._ours = True
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, *_: Any) -> None:
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.came:
            raise KeyboardInterrupt
