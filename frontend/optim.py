"""Optimizers: gradients in, assignments to Variables out, all part of the graph of the training step.

Hyperparameters are Variables: `optimizer.lr = 1e-4` takes effect at the next call, without another trace. They are
float64 scalars, so that a rate is what was written; updates compute in the parameter's dtype (float32 for 16 bits).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphc.brief import brief
from graphc.errors import ShapeError, TraceError
from graphc.types import DType

from .binary import add, divide, less, multiply, subtract
from .context import current_frame
from .dtypes import finfo
from .emit import ArrayLike, as_tensor, cast
from .gradients import cut_off, reached_gradients
from .guards import Watched
from .location import stack_level, user_location, with_user_line
from .nn.module import Module
from .searching import where
from .tensor import Tensor
from .unary import abs, sqrt, square
from .variable import Variable
from .words import Place, unknown

Parameters: TypeAlias = Module | Variable | Iterable[Variable]


class hyperparameter:
    """A number of an optimizer that may change while training. It is kept in a Variable, which is what a trace reads;
    outside of traces it reads as the number that it is now."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            raise AttributeError(f"{self.name} belongs to an optimizer, not to its class")
        found: Variable = optimizer.__dict__[self.name]
        return found.value.item() if current_frame() is None else found

    def __set__(self, optimizer: Any, value: ArrayLike) -> None:
        known = optimizer.__dict__.get(self.name)
        if known is None:
            optimizer.__dict__[self.name] = Variable(value, trainable=False, dtype="float64", name=self.name)
        elif current_frame() is None:
            known.assign(float(value))
        else:
            known.assign(cast(as_tensor(value), known.dtype))


def _named(parameters: Parameters) -> list[tuple[str, Variable]]:
    """What to train, by path in the module or by number."""
    if isinstance(parameters, Module):
        return list(parameters.named_parameters())
    if not isinstance(parameters, Variable | Iterable):
        is_method = getattr(parameters, "__name__", "") == "parameters"
        raise TraceError(
            "an optimizer takes a module or Variables",
            got=brief(parameters),
            hint="the module itself, or model.parameters() with parentheses" if is_method else None,
        )
    variables = [parameters] if isinstance(parameters, Variable) else list(parameters)
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TraceError(
                "an optimizer takes a module or Variables",
                got=brief(variable),
                hint="gx.Variable(array) makes one",
            )
    return [(str(i), v) for i, v in enumerate(variables) if v.trainable]


class Optimizer(Watched):
    """What optimizers share.

    parameters  a module, a Variable, or several. Those that are not trainable are left out.
    """

    lr = hyperparameter()

    if not TYPE_CHECKING:

        @with_user_line
        def __getattr__(self, name: str) -> Any:
            unknown(Place.OPTIMIZER, name, type(self).__name__, [*vars(self), *dir(type(self))])

    @with_user_line
    def __init__(self, parameters: Parameters, lr: float) -> None:
        named = _named(parameters)
        unique = {id(p): (name, p) for name, p in reversed(named)}
        # Tuples, since what lists hold is compared at each call.
        self._names = tuple(name for name, p in named if unique[id(p)][0] == name)
        self._parameters = tuple(unique[id(p)][1] for name, p in named if unique[id(p)][0] == name)
        if not self._parameters:
            raise TraceError("an optimizer needs trainable Variables")
        self.lr = lr

    @property
    def names(self) -> list[str]:
        """What the parameters are called: paths in the module, or numbers."""
        return list(self._names)

    @property
    def parameters(self) -> list[Variable]:
        """What is trained, each Variable once."""
        return list(self._parameters)

    @with_user_line
    def minimize(self, loss: Tensor) -> None:
        """Make gradients of the loss, and the updates that follow from them, part of the trace.

        Parameters that the loss does not depend on stay as they are, and so do those that are not `trainable` now.
        Raises TraceError outside of a trace, and where the loss depends on no parameter at all.
        """
        trained = [p for p in self._parameters if p.trainable]
        if not trained:
            raise TraceError("none of the optimizer's parameters is trainable", got=", ".join(self._names))
        found = reached_gradients(loss, trained)
        if unreached := [p for p, g in zip(trained, found, strict=True) if g is None]:
            self._tell_unreached(loss, unreached, is_all=len(unreached) == len(trained))
        gradients = {id(p): g for p, g in zip(trained, found, strict=True)}
        self.apply([gradients.get(id(p)) for p in self._parameters])

    def _tell_unreached(self, loss: Tensor, unreached: Sequence[Variable], is_all: bool) -> None:
        """Raise TraceError where all are, warn where one is because the loss took a Variable for the value assigned."""
        cut = cut_off(loss, unreached, self._parameters)
        rule = f"the loss depends on none of the {len(unreached)} parameters"
        hint = "compute it, inside the same trace, with the model that the optimizer was made for"
        if cut:
            name, through = self._names[self._number(cut[0][0])], cut[0][1].name
            rule = f"no gradient reaches {name}: the loss reads {through} after it was assigned, where gradients stop"
            hint = f"compute the loss with the tensor that is assigned to {through}"
        if is_all:
            raise TraceError(rule, got=", ".join(self._names), hint=hint)
        if cut:
            warnings.warn(f"{rule}; {hint}", stacklevel=stack_level())

    def _number(self, parameter: Variable) -> int:
        return next(i for i, p in enumerate(self._parameters) if p is parameter)

    @with_user_line
    def apply(self, gradients: Sequence[ArrayLike | None]) -> None:
        """Update the parameters from given gradients, one for each of `parameters`, or None to leave it as it is.

        Raises TraceError outside of a trace; then nothing has changed.
        """
        if current_frame() is None:
            raise TraceError(
                "an optimizer's updates are part of a traced function",
                hint="call apply or minimize inside a function with @gx.compile",
            )
        if len(gradients) != len(self._parameters):
            got = f"{len(gradients)} for {len(self._parameters)}"
            raise ShapeError("there is one gradient for each parameter", got=got)
        self.begin()
        for number, (parameter, gradient) in enumerate(zip(self._parameters, gradients, strict=True)):
            if gradient is not None:
                dtype = parameter.dtype.computes_as
                new = self.updated(number, cast(parameter.value, dtype), cast(as_tensor(gradient), dtype))
                parameter.assign(cast(new, parameter.dtype))

    def begin(self) -> None:
        """What happens once for each step, before the parameters."""

    @abstractmethod
    def updated(self, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The new value of parameter `number`; both tensors are of the dtype that the update computes in."""

    def _moments(self, name: str) -> tuple[Variable, ...]:
        """Zeros like each parameter, in the dtype that updates compute in."""
        return tuple(
            Variable(np.zeros(p.shape, p.dtype.computes_as.numpy), trainable=False, name=f"{p.name}_{name}")
            for p in self._parameters
        )

    # State

    def named_variables(self) -> dict[str, Variable]:
        """All state: hyperparameters and counters by name, moments by name and parameter."""
        result: dict[str, Variable] = {}
        for name, value in vars(self).items():
            if isinstance(value, Variable):
                result[name] = value
            elif (
                isinstance(value, list | tuple)
                and value  # SGD without momentum has no velocities
                and name != "_parameters"
                and all(isinstance(v, Variable) for v in value)
            ):
                result |= {f"{name}.{of}": v for of, v in zip(self._names, value, strict=True)}
        return result

    def state_dict(self) -> dict[str, Tensor]:
        """Snapshots of all state, so that training can go on elsewhere."""
        return {name: v.value for name, v in self.named_variables().items()}

    def load_state_dict(self, state: dict[str, ArrayLike]) -> None:
        """Assign all state. Raises KeyError for a missing name."""
        for name, variable in self.named_variables().items():
            variable.assign(state[name])


def _as(x: Variable | Tensor, dtype: DType) -> Tensor:
    """A scalar of the optimizer in the dtype of an update."""
    return cast(as_tensor(x), dtype)


class SGD(Optimizer):
    """p ← p − lr · g, with g + weight_decay · p for g; with momentum, v ← momentum · v + (1 − dampening) · g for g.

    As PyTorch's. The momentum can be changed later only if it is not 0 at first, since it needs memory.
    """

    momentum = hyperparameter()
    dampening = hyperparameter()
    weight_decay = hyperparameter()

    @with_user_line
    def __init__(
        self, parameters: Parameters, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("nesterov needs a momentum and no dampening")
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.momentum = momentum
        self.dampening = dampening
        self.velocities = self._moments("velocity") if momentum else ()
        self.steps = Variable(np.int64(0), trainable=False, name="steps")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "momentum" and "velocities" in vars(self) and not self.velocities:
            raise ValueError(
                "this SGD has no memory for momentum: give SGD(..., momentum=...) one that is not 0"
            )
        super().__setattr__(name, value)

    def begin(self) -> None:
        if self.velocities:
            self.steps.assign(add(self.steps, 1))

    def updated(self, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        dtype = parameter.dtype
        gradient = add(gradient, multiply(parameter, _as(self.weight_decay, dtype)))
        if self.velocities:
            gradient = self._with_momentum(self.velocities[number], gradient, dtype)
        return subtract(parameter, multiply(gradient, _as(self.lr, dtype)))

    def _with_momentum(self, velocity: Variable, gradient: Tensor, dtype: DType) -> Tensor:
        """PyTorch's first step takes the whole gradient, without dampening."""
        momentum = _as(self.momentum, dtype)
        share = where(self.steps.value == 1, 1.0, subtract(1.0, self.dampening))
        new = _settled(add(multiply(velocity, momentum), multiply(gradient, cast(share, dtype))))
        velocity.assign(new)
        return add(gradient, multiply(new, momentum)) if self.nesterov else new


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015), as PyTorch's: weight_decay · p is added to the gradient.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  p ← p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    """

    beta1 = hyperparameter()
    beta2 = hyperparameter()
    eps = hyperparameter()
    weight_decay = hyperparameter()

    @with_user_line
    def __init__(
        self, parameters: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        self.beta1, self.beta2 = _pair(betas)
        self.eps = eps
        self.weight_decay = weight_decay
        self.beta1_power = Variable(
            1.0, trainable=False, dtype="float64", name="beta1_power"
        )  # β₁ᵗ after t steps
        self.beta2_power = Variable(1.0, trainable=False, dtype="float64", name="beta2_power")
        self.first_moments = self._moments("first_moment")
        self.second_moments = self._moments("second_moment")

    def begin(self) -> None:
        self.beta1_power.assign(multiply(self.beta1_power, self.beta1))
        self.beta2_power.assign(multiply(self.beta2_power, self.beta2))

    def updated(self, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        dtype = parameter.dtype
        gradient = self.regularized(parameter, gradient)
        first = _mixed(self.first_moments[number], gradient, self.beta1)
        second = _mixed(self.second_moments[number], square(gradient), self.beta2)
        rate = _as(divide(self.lr, subtract(1.0, self.beta1_power)), dtype)
        scale = _as(divide(1.0, sqrt(subtract(1.0, self.beta2_power))), dtype)
        step = divide(multiply(first, rate), add(multiply(sqrt(second), scale), _as(self.eps, dtype)))
        return subtract(self.decayed(parameter), step)

    def regularized(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with weight decay as part of the loss."""
        return add(gradient, multiply(parameter, _as(self.weight_decay, parameter.dtype)))

    def decayed(self, parameter: Tensor) -> Tensor:
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

    def regularized(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        return gradient

    def decayed(self, parameter: Tensor) -> Tensor:
        return multiply(parameter, _as(subtract(1.0, multiply(self.lr, self.weight_decay)), parameter.dtype))


def _pair(betas: Sequence[float]) -> tuple[float, float]:
    try:
        first, second = betas
    except (TypeError, ValueError):
        raise ShapeError("betas are two numbers", got=brief(betas), where=user_location()) from None
    return first, second


def _mixed(moment: Variable, new: Tensor, beta: Variable) -> Tensor:
    """moment ← beta · moment + (1 − beta) · new."""
    share = _as(subtract(1.0, beta), new.dtype)
    result = _settled(add(multiply(moment, _as(beta, new.dtype)), multiply(new, share)))
    moment.assign(result)
    return result


def _settled(average: Tensor) -> Tensor:
    """A decaying average with 0 for its subnormal numbers. Where gradients have become 0, as those of dead units, an
    average would end among these and stay: 0.9 · x rounds to x there, and processors take a hundred cycles for each."""
    return where(less(abs(average), finfo(average.dtype).smallest_normal), 0.0, average)


__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
