"""How a label (or index) out of range is reported.

It reads no memory, and makes its row's loss and gradient nan. The error follows without anybody waiting for the device:
the kernel writes the place into memory of the host, and the next call of the same kind that finds it there raises
ValueError. With CUDA_LAUNCH_BLOCKING=1, which makes CUDA's own errors come in time, the call itself waits and raises.
"""

from __future__ import annotations

import functools
from typing import Any

from nbgrad.arrays import out_of_range
from nbgrad.cuda import device
from nbgrad.cuda.arrays import Arrays

__all__ = ["Alarm", "alarm"]


class Alarm:
    """A place out of range, reported by kernels on one GPU."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.written, self.flag = device.mapped(1)
        self.expected = ""

    def arm(self, expected: str) -> Any:
        """What kernels write to. ValueError if an earlier call's did."""
        self.tell(" in an earlier call")
        self.expected = expected
        if device.here.run is not None:
            device.here.run.alarms.append((self, expected))
        return self.flag

    def look(self, values: Any = None) -> None:
        """After a call: raise now if that is wanted. ``values``: the argument, to say what came."""
        if device.blocking() and not (device.here.run is not None and device.here.run.capturing):
            device.synchronize()
            self.tell("", values)

    def tell(self, when: str, values: Any = None) -> None:
        """ValueError if a place was reported."""
        place, self.written[0] = int(self.written[0]) - 1, 0
        if place >= 0:
            got = "another" if values is None else device.to_host(values[place : place + 1])[0]
            raise out_of_range(self.name, self.expected + when, got, place)


@functools.cache
def _alarm(name: str, number: int) -> Alarm:
    return Alarm(name)


def alarm(call: Arrays, name: str) -> Alarm:
    """The alarm of the call's GPU for this argument."""
    return _alarm(name, device.device_of(call.arrays[call.first]))
