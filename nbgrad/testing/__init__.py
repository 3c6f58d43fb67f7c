"""Gradient checking."""
from nbgrad.testing.check import check_gradient as check_gradient
from nbgrad.testing.report import GradientError as GradientError
from nbgrad.testing.report import GradientReport as GradientReport
