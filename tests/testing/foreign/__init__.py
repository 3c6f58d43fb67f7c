"""Right functions written the ways users write them, each with the textbook's gradient: what `nbgrad.testing` must pass.

`FOREIGN` maps a name to a function of hypothesis settings that makes and runs the property. A domain is chosen so that
the textbook's gradient keeps more than half of its digits there. Functions of a library that is not installed are
left out.
"""

from .plain import TABLE as PLAIN

FOREIGN = PLAIN

__all__ = ["FOREIGN"]
