"""Functions of PyTorch, JAX, autograd and of Tensors."""
