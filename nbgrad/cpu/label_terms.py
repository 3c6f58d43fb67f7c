"""What a row of logits and its label give, in the lanes of `nbgrad.cpu.lanes`: the loss and what makes its gradient.
Cross-entropy and softmax regression are made of it.
"""

from __future__ import annotations

import numpy as np

from nbgrad.cpu.lanes import LANES, exp_sums, lane_block, largest
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows
from nbgrad.jit import scalar
from nbgrad.jit.vector_map import vector_map

__all__ = ["label_terms"]

# The end of a row. One precision a loop where it is heavy: of all three together LLVM made 18 cycles a row, of loops
# apart 10.


@scalar
def _start(own):
    T = type(own)
    return -T(np.inf), T(0), 0.0


@scalar
def _others(rest, count, top):
    others = rows.finite(top, rest + (np.float64(count) - 1.0))
    return others, others


@scalar
def _losses(own, top, others, w):
    T = type(own)
    return w * rows.nll(own, top, rows.logarithm(T, others)), exp_minus(top - own)


@scalar
def _slopes(others, w, own_e, own, top, scale):
    weighted = np.float64(w) * scale
    share = 1.0 / (1.0 + others)
    return weighted * share, weighted * rows.label_slope(own_e, own == top, others)


@scalar
def label_terms(t, classes, work, rest, scale):
    """Logits in the lane blocks of ``t`` become e^(x − max). ``work`` has 7 blocks: those called own and w below hold
    the logit and the weight of each lane's label. Left in the blocks: weighted losses; factor, which makes the
    exponentials of the other classes their gradient; the label's own gradient.
    """
    counted, losses, factor = lane_block(work, 0), lane_block(work, 1), lane_block(work, 2)
    top, own, w = lane_block(work, 3), lane_block(work, 4), lane_block(work, 5)
    own_e = lane_block(work, 6)
    vector_map(_start, (own,), 0, LANES, (top, counted, rest), 0, ())
    largest(t, LANES, classes, top)
    exp_sums(t, LANES, classes, top, t, LANES, work, rest, None, None)
    vector_map(_others, (rest, counted, top), 0, LANES, (rest, losses), 0, ())
    vector_map(_losses, (own, top, losses, w), 0, LANES, (losses, own_e), 0, ())
    vector_map(_slopes, (rest, w, own_e, own, top), 0, LANES, (factor, own), 0, (scale,))
