"""The regression models' pass over X on a GPU."""
