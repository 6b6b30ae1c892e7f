"""Layers, activations, losses and initializers, with the names that PyTorch's users know."""
