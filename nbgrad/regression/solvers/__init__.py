"""Minimizers of a `Problem`: Newton's method, L-BFGS, coordinate descent for the penalty l1, and the certificate."""
