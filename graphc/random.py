"""`gx.random`: seeds, generators and distributions."""

from typing import TYPE_CHECKING

from .frontend.random import Generator, bernoulli, bits, get_state, normal, randint, seed, set_state, uniform
from .frontend.words import Owner, unknown_in

__all__ = ["Generator", "bernoulli", "bits", "get_state", "normal", "randint", "seed", "set_state", "uniform"]

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Owner.RANDOM)
