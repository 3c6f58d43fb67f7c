"""Sums along axes, pairwise and in float64: `nbgrad.cpu.sums.axis`; over any axes: `nbgrad.cpu.sums.add_up`."""
