"""`graphc.optim`: optimizers."""

from .frontend.optim import SGD, Adam, AdamW, Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
