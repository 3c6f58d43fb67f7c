"""Whether this thread runs a step that is to be captured (`nbgrad.compile`): what launches, optimisers, dropout and
labels' alarms ask.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["here"]


class _Here(threading.local):
    run: Any = None  # of `nbgrad.cuda.captures.Run`


here = _Here()
