"""The plug-in for CUDA: plain formulas become kernels on arrays in a GPU's memory.

Loaded when the first such array comes. Above the switch (`nbgrad.place`) stand the modules named here; `nbgrad.cpu` has
the same with the same names in them.
"""

from nbgrad.cuda import place, tensor, updates

__all__ = ["place", "tensor", "updates"]
