"""`graphc.optim`: optimizers."""

from typing import TYPE_CHECKING

from .frontend.optim import SGD, Adam, AdamW, HyperparameterError, Optimizer, ParameterGroup
from .frontend.words import Owner, unknown_in

__all__ = ["SGD", "Adam", "AdamW", "HyperparameterError", "Optimizer", "ParameterGroup"]

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Owner.OPTIM)
