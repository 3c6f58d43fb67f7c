"""The regression models' pass over X on the CPU."""
