"""Linear regression: least squares, solved directly, and its estimators."""
