"""Layers: modules with parameters, and modules for functions that have settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphc import ops
from graphc.brief import brief
from graphc.errors import ArgumentError, ShapeError
from graphc.types import DTypeLike, TensorType, as_dtype

from ..binary import add
from ..creation import as_shape
from ..emit import ArrayLike, as_tensor, cast, emit, operation, whole
from ..location import with_user_line
from ..numbers import finite, probability
from ..random import Generator
from ..recorded import recorded
from ..tensor import Tensor
from ..variable import Variable
from . import functional, init
from .module import Module, input_for, static


class Linear(Module):
    """x · weightᵀ + bias, along the last axis.

    weight: (out_features, in_features), as in PyTorch, so that checkpoints go either way without a transpose that
    nothing would notice for square weights; what order a backend wants it in is the `prepare` graph's business.
    Initialized as in PyTorch, uniformly within ±1/√in_features; `init` is for the weight.
    """

    @with_user_line
    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = "float32",
        init: init.Initializer | None = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.in_features, self.out_features = as_shape((in_features, out_features))
        first = _within(1 / math.sqrt(self.in_features) if self.in_features else 0.0)
        self.weight = parameter((self.out_features, self.in_features), dtype, init or first, generator)
        self.bias = parameter((self.out_features,), dtype, first, generator) if bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        return _linear(self, x)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


@operation
def _linear(layer: Linear, x: ArrayLike) -> Tensor:
    if layer.weight.shape != (layer.out_features, layer.in_features):
        raise ShapeError(f"Linear({layer.describe()}) has a weight of (out_features, in_features)",
                         got=f"a weight of {layer.weight.type}")  # fmt: skip
    x = input_for(layer, x, layer.weight)
    if not x.shape or x.shape[-1] != layer.in_features:
        raise ShapeError(f"Linear({layer.describe()}) takes {layer.in_features} features along the last axis",
                         got=str(x.type))  # fmt: skip
    return _affine(x, layer.weight, layer.bias)


@recorded
def _affine(x: Tensor, weight: Variable, bias: Variable | None) -> Tensor:
    matrix = as_tensor(weight)
    if not x.dtype.is_float:
        x = cast(x, matrix.dtype)
    y = emit(ops.dot_general, x, matrix, contract=((x.ndim - 1,), (1,)), batch=((), ()))
    return y if bias is None else add(y, bias)


def parameter(
    shape: Sequence[int], dtype: DTypeLike, initializer: init.Initializer, generator: Generator | None = None
) -> Variable:
    """A trainable Variable with a first value from an initializer."""
    return Variable(initializer(TensorType(as_dtype(dtype), tuple(shape)), generator))


def _within(bound: float) -> init.Initializer:
    return init.uniform(-bound, bound)


class LayerNorm(Module):
    """Normalizes the last axes to mean 0 and variance 1, then scales and shifts; see `layer_norm`."""

    @with_user_line
    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, *, dtype: DTypeLike = "float32",
    ) -> None:  # fmt: skip
        self.normalized_shape = functional.last_sizes(normalized_shape)
        self.eps = finite(eps, "eps", least=0.0)
        self.weight = parameter(self.normalized_shape, dtype, init.ones) if elementwise_affine else None
        self.bias = (
            parameter(self.normalized_shape, dtype, init.zeros) if elementwise_affine and bias else None
        )

    def forward(self, x: ArrayLike) -> Tensor:
        return _layer_norm(self, x)

    def describe(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


@operation
def _layer_norm(layer: LayerNorm, x: ArrayLike) -> Tensor:
    x = x if layer.weight is None else input_for(layer, x, layer.weight)
    return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


class Dropout(Module):
    """While training, zeroes each element with probability p and scales the others by 1 / (1 − p)."""

    p = static(0.5, probability)

    @with_user_line
    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        self.p = p
        self.generator = generator

    def forward(self, x: ArrayLike) -> Tensor:
        return functional.dropout(x, self.p, self.training, generator=self.generator)

    def describe(self) -> str:
        return f"p={self.p}"


class Sequential(Module):
    """One after the other: modules, or any functions of one argument."""

    @with_user_line
    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                raise ArgumentError(
                    "Sequential takes modules and functions, one by one",
                    got=brief(layer),
                    hint="nn.Sequential(*layers) for a list of them",
                )
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def members(self) -> list[tuple[object, Any]]:
        """The layers by number, so that names are PyTorch's: "0.weight"."""
        return list(enumerate(self.layers))

    def __getitem__(self, number: int) -> Callable[[Any], Any]:
        return self.layers[number]

    def __len__(self) -> int:
        return len(self.layers)


class Flatten(Module):
    """All axes from `start_axis` to `end_axis` as one."""

    @with_user_line
    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = whole(start_axis, "an axis is a whole number")
        self.end_axis = whole(end_axis, "an axis is a whole number")

    def forward(self, x: ArrayLike) -> Tensor:
        return _flatten(x, self.start_axis, self.end_axis)


@operation
def _flatten(x: ArrayLike, start_axis: int, end_axis: int) -> Tensor:
    from ..emit import as_tensor, normal_axis
    from ..shapes import reshape

    x = as_tensor(x)
    start, end = normal_axis(start_axis, x.ndim), normal_axis(end_axis, x.ndim)
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


class Identity(Module):
    """x, as it is."""

    def forward(self, x: Any) -> Any:
        return x
