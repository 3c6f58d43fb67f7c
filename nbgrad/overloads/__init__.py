"""What runs when a user's ``@njit`` functions call the kernels."""
