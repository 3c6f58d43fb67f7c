"""The plug-in for the CPU: plain formulas become loops over arrays.

Above the switch (`nbgrad.place`) stand the modules named here; `nbgrad.cuda` has the same with the same names in them.
"""

from nbgrad.cpu import place, tensor, updates

__all__ = ["place", "tensor", "updates"]
