"""`gx.random`: seeds, generators and distributions."""

from .frontend.random import Generator, bernoulli, bits, normal, randint, seed, uniform

__all__ = ["Generator", "bernoulli", "bits", "normal", "randint", "seed", "uniform"]
