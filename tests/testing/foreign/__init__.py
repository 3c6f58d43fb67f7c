"""Right functions written the ways users write them, each with the textbook's gradient: what `nbgrad.testing` must pass.

`FOREIGN` maps a name to a function of hypothesis settings that makes and runs the property. A domain is chosen so that
the textbook's gradient keeps more than half of its digits there. Functions of a library that is not installed are
left out.
"""

from . import arrays, frameworks, layers, libraries, linear, losses, one_number, order, plain, science

PARTS = (plain, one_number, arrays, order, linear, science, losses, layers, libraries, frameworks)
FOREIGN = {f"{part.__name__.rpartition('.')[2]}: {name}": make for part in PARTS for name, make in part.TABLE.items()}

__all__ = ["FOREIGN"]
