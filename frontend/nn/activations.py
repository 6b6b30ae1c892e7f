"""The activation functions as modules, for those who list layers; in a `Sequential` the functions do as well."""

from __future__ import annotations

from typing import Any, ClassVar

from graphc.errors import option

from ..emit import ArrayLike, whole
from ..location import with_user_line
from ..numbers import finite
from ..tensor import Tensor
from . import functional
from .module import Module


class Activation(Module):
    """A function of `functional` with its settings fixed."""

    function: ClassVar[Any]

    def __init__(self, **settings: Any) -> None:
        self._settings = tuple(settings.items())  # no dict, whose items would be compared at each call

    @property
    def settings(self) -> dict[str, Any]:
        """What the function is called with."""
        return dict(self._settings)

    def forward(self, x: ArrayLike) -> Tensor:
        result: Tensor = type(self).function(x, **self.settings)
        return result

    def describe(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


class ReLU(Activation):
    function = staticmethod(functional.relu)


class ReLU6(Activation):
    function = staticmethod(functional.relu6)


class SELU(Activation):
    function = staticmethod(functional.selu)


class SiLU(Activation):
    function = staticmethod(functional.silu)


class Mish(Activation):
    function = staticmethod(functional.mish)


class Sigmoid(Activation):
    function = staticmethod(functional.sigmoid)


class LogSigmoid(Activation):
    function = staticmethod(functional.log_sigmoid)


class Tanh(Activation):
    function = staticmethod(functional.tanh)


class Softsign(Activation):
    function = staticmethod(functional.softsign)


class Hardsigmoid(Activation):
    function = staticmethod(functional.hard_sigmoid)


class Hardswish(Activation):
    function = staticmethod(functional.hard_swish)


class LeakyReLU(Activation):
    function = staticmethod(functional.leaky_relu)

    @with_user_line
    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=finite(negative_slope, "negative_slope"))


class ELU(Activation):
    function = staticmethod(functional.elu)

    @with_user_line
    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=finite(alpha, "alpha"))


class GELU(Activation):
    function = staticmethod(functional.gelu)

    @with_user_line
    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=option(functional.Approximation, approximate, "approximate").value)


class Softplus(Activation):
    function = staticmethod(functional.softplus)

    @with_user_line
    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=finite(beta, "beta", above=0.0))


class Hardtanh(Activation):
    function = staticmethod(functional.hard_tanh)

    @with_user_line
    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        low = finite(min_val, "min_val")
        super().__init__(min_val=low, max_val=finite(max_val, "max_val", above=low))


class GLU(Activation):
    function = staticmethod(functional.glu)

    @with_user_line
    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=whole(axis, "an axis is a whole number"))


class Softmax(Activation):
    function = staticmethod(functional.softmax)

    @with_user_line
    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=whole(axis, "an axis is a whole number"))


class LogSoftmax(Activation):
    function = staticmethod(functional.log_softmax)

    @with_user_line
    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=whole(axis, "an axis is a whole number"))
