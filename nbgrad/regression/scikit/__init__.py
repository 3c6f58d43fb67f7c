"""What makes the estimators scikit-learn's: its base classes and checks, or stand-ins; what a fitted one answers."""
