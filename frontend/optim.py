"""Optimizers: SGD, Adam and AdamW, as PyTorch's. What they share is in `optimizer`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import numpy as np

from graphc.brief import brief
from graphc.types import DType

from .binary import add, divide, less, multiply, subtract
from .dtypes import finfo
from .emit import as_tensor, cast
from .location import with_user_line
from .optimizer import (
    HyperparameterError,
    Optimizer,
    ParameterGroup,
    Parameters,
    Update,
    flag,
    hyperparameter,
)
from .repeated import Repeated
from .searching import where
from .tensor import Tensor
from .unary import abs, sqrt, square
from .variable import Variable


def _as(x: Variable | Tensor, dtype: DType) -> Tensor:
    """A scalar of the optimizer in the dtype of an update."""
    return cast(as_tensor(x), dtype)


class _Alike(Optimizer):
    """What SGD and Adam share: the update of a parameter is a function of the parameter, its gradient and its moments,
    the same for all parameters of a group. So it is traced for one of each type, and copied for the others."""

    @abstractmethod
    def _moments_of(self, group: ParameterGroup, number: int) -> tuple[Variable, ...]:
        """The moments of parameter `number`."""

    @abstractmethod
    def _values(
        self, group: ParameterGroup, parameter: Tensor, gradient: Tensor, *moments: Tensor | Variable
    ) -> tuple[Tensor, ...]:
        """The new values of the parameter and of its moments."""

    def updated(self, group: ParameterGroup, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        return self._assigned(group, number, self._values(group, parameter, gradient, *self._moments_of(group, number)))

    def _updates(self) -> Update:
        if type(self).__module__ != __name__:  # what a user's own class does may be more, or differ from call to call
            return self.updated
        steps = {id(group): Repeated(partial(self._values, group)) for group in self.param_groups}

        def updated(group: ParameterGroup, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
            found = steps[id(group)](parameter, gradient, *self._moments_of(group, number))
            return self._assigned(group, number, found)

        return updated

    def _assigned(self, group: ParameterGroup, number: int, new: Sequence[Tensor]) -> Tensor:
        """Of the new values, that of the parameter; the moments get theirs."""
        parameter, *values = new
        for moment, value in zip(self._moments_of(group, number), values, strict=True):
            moment.assign(value)
        return parameter


class SGD(_Alike):
    """p ← p − lr · g, with g + weight_decay · p for g; with momentum, v ← momentum · v + (1 − dampening) · g for g.

    As PyTorch's. The momentum can be changed later only if it is not 0 at first, since it needs memory.
    """

    momentum = hyperparameter()
    dampening = hyperparameter(least=-math.inf)
    weight_decay = hyperparameter()
    nesterov = flag()
    velocities: tuple[Variable, ...] = ()

    @with_user_line
    def __init__(
        self, parameters: Parameters, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            parameters, lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def prepare(self, group: ParameterGroup) -> None:
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise HyperparameterError("nesterov needs a momentum and no dampening", got=brief(group))
        group.has_velocities = group["momentum"] > 0
        group.steps = Variable(np.int64(0), trainable=False, name="steps")
        if not group.has_velocities:
            reason = "this SGD has no memory for momentum: give SGD(..., momentum=...) one that is not 0"
            group.fixed = {"momentum": reason, "nesterov": reason}

    def grow(self) -> None:
        if any(group.has_velocities for group in self.param_groups):
            self.velocities = self.moments("velocity", self.velocities)

    def begin(self, group: ParameterGroup) -> None:
        if group.has_velocities:
            group.steps.assign(add(group.steps, 1))

    def _moments_of(self, group: ParameterGroup, number: int) -> tuple[Variable, ...]:
        return (self.velocities[number],) if group.has_velocities else ()

    def _values(
        self, group: ParameterGroup, parameter: Tensor, gradient: Tensor, *moments: Tensor | Variable
    ) -> tuple[Tensor, ...]:
        dtype = parameter.dtype
        gradient = add(gradient, multiply(parameter, _as(group["weight_decay"], dtype)))
        new = [self._velocity(group, velocity, gradient) for velocity in moments]
        for velocity in new:
            ahead = group["nesterov"]
            gradient = add(gradient, multiply(velocity, _as(group["momentum"], dtype))) if ahead else velocity
        return subtract(parameter, multiply(gradient, _as(group["lr"], dtype))), *new

    def _velocity(self, group: ParameterGroup, velocity: Tensor | Variable, gradient: Tensor) -> Tensor:
        """PyTorch's first step takes the whole gradient, without dampening."""
        momentum = _as(group["momentum"], gradient.dtype)
        share = where(group.steps.value == 1, 1.0, subtract(1.0, group["dampening"]))
        return _settled(add(multiply(velocity, momentum), multiply(gradient, cast(share, gradient.dtype))))


class Adam(_Alike):
    """Adaptive moments (Kingma and Ba, 2015), as PyTorch's: weight_decay · p is added to the gradient.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  p ← p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    """

    beta1 = hyperparameter(below=1.0)
    beta2 = hyperparameter(below=1.0)
    eps = hyperparameter()
    weight_decay = hyperparameter()
    first_moments: tuple[Variable, ...] = ()
    second_moments: tuple[Variable, ...] = ()

    @with_user_line
    def __init__(
        self, parameters: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def prepare(self, group: ParameterGroup) -> None:
        for name in ("beta1_power", "beta2_power"):  # βᵗ after t steps
            setattr(group, name, Variable(1.0, trainable=False, dtype="float64", name=name))

    def grow(self) -> None:
        self.first_moments = self.moments("first_moment", self.first_moments)
        self.second_moments = self.moments("second_moment", self.second_moments)

    def begin(self, group: ParameterGroup) -> None:
        group.beta1_power.assign(multiply(group.beta1_power, group["beta1"]))
        group.beta2_power.assign(multiply(group.beta2_power, group["beta2"]))

    def _moments_of(self, group: ParameterGroup, number: int) -> tuple[Variable, ...]:
        return self.first_moments[number], self.second_moments[number]

    def _values(
        self, group: ParameterGroup, parameter: Tensor, gradient: Tensor, *moments: Tensor | Variable
    ) -> tuple[Tensor, ...]:
        dtype = parameter.dtype
        gradient = self.regularized(group, parameter, gradient)
        first = _mixed(moments[0], gradient, group["beta1"])
        second = _mixed(moments[1], square(gradient), group["beta2"])
        rate = _as(divide(group["lr"], subtract(1.0, group.beta1_power)), dtype)
        scale = _as(divide(1.0, sqrt(subtract(1.0, group.beta2_power))), dtype)
        step = divide(multiply(first, rate), add(multiply(sqrt(second), scale), _as(group["eps"], dtype)))
        return subtract(self.decayed(group, parameter), step), first, second

    def regularized(self, group: ParameterGroup, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with weight decay as part of the loss."""
        return add(gradient, multiply(parameter, _as(group["weight_decay"], parameter.dtype)))

    def decayed(self, group: ParameterGroup, parameter: Tensor) -> Tensor:
        """The parameter with weight decay apart from the loss."""
        return parameter


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p shrinks by lr · weight_decay · p."""

    @with_user_line
    def __init__(
        self, parameters: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def regularized(self, group: ParameterGroup, parameter: Tensor, gradient: Tensor) -> Tensor:
        return gradient

    def decayed(self, group: ParameterGroup, parameter: Tensor) -> Tensor:
        share = subtract(1.0, multiply(group["lr"], group["weight_decay"]))
        return multiply(parameter, _as(share, parameter.dtype))


def _mixed(moment: Tensor | Variable, new: Tensor, beta: Variable) -> Tensor:
    """beta · moment + (1 − beta) · new."""
    share = _as(subtract(1.0, beta), new.dtype)
    return _settled(add(multiply(moment, _as(beta, new.dtype)), multiply(new, share)))


def _settled(average: Tensor) -> Tensor:
    """A decaying average with 0 for its subnormal numbers. Where gradients have become 0, as those of dead units, an
    average would end among these and stay: 0.9 · x rounds to x there, and processors take a hundred cycles for each."""
    return where(less(abs(average), finfo(average.dtype).smallest_normal), 0.0, average)


__all__ = ["SGD", "Adam", "AdamW", "HyperparameterError", "Optimizer", "ParameterGroup"]
