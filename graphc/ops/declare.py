"""Shorthand for declaring ops: what the ops of a kind have in common is said here, and an op has the name of the
function that is decorated, which stands once.

    @unary(FLOATS, np.sin, slope=lambda y, x: cos(x))
    def sin(s: Builder, x: Scalar) -> Scalar:
        return s.sin(x)

For elementwise ops that function is the scalar recipe, for others the reference in NumPy. `op.py` says what the parts
of a declaration are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .. import ops
from ..ir import Node
from ..op import Kind, Monoid, Op
from ..scalar import ScalarFunction
from ..types import DType, Type
from . import rules
from .rules import Family, no_gradient

Gradient: TypeAlias = Callable[..., tuple[Node | None, ...]]
Reference: TypeAlias = Callable[..., Any]


def unary(
    family: Family,
    reference: Reference,
    slope: Callable[[Node, Node], Node] | None = None,
    vjp: Gradient = no_gradient,
    result: DType | None = None,
) -> Callable[[ScalarFunction], Op]:
    """An elementwise op of one input; `result`: the dtype where it is not the input's.

    Its gradient is the output's times `slope(y, x)`, or what `vjp` says where that is not a product; without either it
    is constant wherever it is smooth.
    """
    if slope is not None:
        vjp = lambda g, y, x: (ops.multiply(g, slope(y, x)),)  # noqa: E731

    def declare(scalar: ScalarFunction) -> Op:
        infer = rules.unary(scalar.__name__, family, result)
        return Op(scalar.__name__, Kind.ELEMENTWISE, infer, reference, vjp, scalar=scalar)

    return declare


def binary(
    family: Family,
    reference: Reference,
    vjp: Gradient = no_gradient,
    result: DType | None = None,
    commutes: bool = False,
) -> Callable[[ScalarFunction], Op]:
    """An elementwise op of two inputs of one type."""

    def declare(scalar: ScalarFunction) -> Op:
        infer = rules.binary(scalar.__name__, family, result)
        return Op(scalar.__name__, Kind.ELEMENTWISE, infer, reference, vjp, scalar=scalar, commutes=commutes)

    return declare


def elementwise(
    infer: Callable[..., Type], reference: Reference, vjp: Gradient = no_gradient
) -> Callable[[ScalarFunction], Op]:
    """An elementwise op whose type follows no common rule."""
    return lambda scalar: Op(scalar.__name__, Kind.ELEMENTWISE, infer, reference, vjp, scalar=scalar)


def reduction(
    family: Family,
    monoid: Monoid,
    vjp: Gradient = no_gradient,
    result: DType | None = None,
    of_nothing: bool = True,
) -> Callable[[Reference], Op]:
    """A reduction over the attr `axes`; `of_nothing`: whether it has a value where there are no elements."""

    def declare(reference: Reference) -> Op:
        infer = rules.reduced(reference.__name__, family, result, of_nothing=of_nothing)
        return Op(reference.__name__, Kind.REDUCTION, infer, reference, vjp, monoid=monoid)

    return declare


def source(infer: Callable[..., Type]) -> Op:
    """An op without inputs that stands for what is given from outside; the function says its type."""
    return Op(infer.__name__, Kind.SOURCE, infer)


def op(kind: Kind, infer: Callable[..., Type], vjp: Gradient | None = None, **parts: Any) -> Callable[[Reference], Op]:
    """An op of any kind, with the parts of a declaration that this kind has."""
    return lambda reference: Op(reference.__name__, kind, infer, reference, vjp, **parts)
