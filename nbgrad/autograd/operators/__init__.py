"""What is computed with tensors: each operator's rule and its method, by kind."""
