"""Recorded steps: a function of tensors runs once, its array operations are noted, and replayed without Python."""
