"""A user's formula as a function of arrays: `nbgrad.differentiable`."""
