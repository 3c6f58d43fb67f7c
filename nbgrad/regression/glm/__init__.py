"""Regression by other losses than squares: counts, sizes, data with outliers."""
