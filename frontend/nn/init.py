"""Initializers: functions from a parameter's type to its first value.

Weights are laid out (outputs, inputs, …), as in PyTorch. Values are those of concrete operations, so a seed gives
the same parameters wherever the model will run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from graphc.errors import ShapeError
from graphc.types import TensorType

from .. import random
from ..creation import full
from ..random import Generator
from ..tensor import Tensor
from ..words import Owner, unknown_in

Initializer: TypeAlias = Callable[[TensorType, Generator | None], Tensor]


def constant(value: float) -> Initializer:
    """All elements equal."""
    return lambda type_, generator: full(type_.shape, float(value), dtype=type_.dtype)


def uniform(low: float = 0.0, high: float = 1.0) -> Initializer:
    """Equally likely in low ≤ x < high."""
    return lambda type_, generator: random.uniform(
        type_.shape, low=low, high=high, dtype=type_.dtype, generator=generator
    )


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """Normally distributed."""
    return lambda type_, generator: random.normal(
        type_.shape, mean=mean, std=std, dtype=type_.dtype, generator=generator
    )


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform with variance gain² · 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return _scaled_uniform(lambda fan_in, fan_out: gain * math.sqrt(2 / (fan_in + fan_out)))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Normal with variance gain² · 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return _scaled_normal(lambda fan_in, fan_out: gain * math.sqrt(2 / (fan_in + fan_out)))


def he_uniform(gain: float = math.sqrt(2)) -> Initializer:
    """Uniform with variance gain² / fan_in (He and others, 2015); the gain √2 is for relu."""
    return _scaled_uniform(lambda fan_in, fan_out: gain / math.sqrt(fan_in))


def he_normal(gain: float = math.sqrt(2)) -> Initializer:
    """Normal with variance gain² / fan_in (He and others, 2015); the gain √2 is for relu."""
    return _scaled_normal(lambda fan_in, fan_out: gain / math.sqrt(fan_in))


zeros = constant(0.0)
ones = constant(1.0)
kaiming_uniform, kaiming_normal = he_uniform, he_normal  # PyTorch's names


def fans(type_: TensorType) -> tuple[int, int]:
    """How many inputs an output sums over, and how many outputs an input goes to. Raises ShapeError below rank 2."""
    if type_.ndim < 2:
        raise ShapeError("this initializer is for weights, which have inputs and outputs", got=str(type_))
    field = math.prod(type_.shape[2:])
    return type_.shape[1] * field, type_.shape[0] * field


def _scaled_uniform(deviation: Callable[[int, int], float]) -> Initializer:
    def initialize(type_: TensorType, generator: Generator | None) -> Tensor:
        bound = math.sqrt(3) * deviation(
            *fans(type_)
        )  # of the uniform distribution with that standard deviation
        return uniform(-bound, bound)(type_, generator)

    return initialize


def _scaled_normal(deviation: Callable[[int, int], float]) -> Initializer:
    return lambda type_, generator: normal(0.0, deviation(*fans(type_)))(type_, generator)


if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Owner.INIT)
