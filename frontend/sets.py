"""Array functions whose results' sizes depend on values, with the names and signatures of the Python array API
standard. Shapes are static in a graph, so these are for concrete tensors; and `isin`, which is for all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphc.errors import ShapeError, TraceError

from .binary import bitwise_invert, equal
from .emit import ArrayLike, as_tensor, operands, operation
from .reductions import any
from .shapes import expand_dims, reshape
from .tensor import Tensor, concrete


class UniqueAll(NamedTuple):
    """The distinct values in ascending order, where each is first, where each element's is, and how many there are."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """The distinct values in ascending order, and how often each occurs."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """The distinct values in ascending order, and which of them each element is."""

    values: Tensor
    inverse_indices: Tensor


@operation
def nonzero(x: ArrayLike, /) -> tuple[Tensor, ...]:
    """The positions of elements that are not 0, in row-major order: an int64 vector for each axis.

    Raises TraceError in a trace, where their number is not known.
    """
    x = _known(x, "nonzero", "gx.where chooses by a condition; gx.count_nonzero counts")
    if not x.ndim:
        raise ShapeError("nonzero needs at least one axis", got=str(x.type))
    return tuple(concrete(np.ascontiguousarray(p)) for p in np.nonzero(x._array))


@operation
def unique_all(x: ArrayLike, /) -> UniqueAll:
    """All that is to say about the distinct values; NaNs are all distinct. Raises TraceError in a trace."""
    x = _known(x, "unique_all", "pass what it gives as an argument")
    values, indices, inverse, counts = np.unique(
        x._array, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return UniqueAll(*map(concrete, (values, indices, inverse.reshape(x.shape), counts)))


@operation
def unique_counts(x: ArrayLike, /) -> UniqueCounts:
    """The distinct values and how often each occurs; NaNs are all distinct. Raises TraceError in a trace."""
    found = unique_all(_known(x, "unique_counts", "pass what it gives as an argument"))
    return UniqueCounts(found.values, found.counts)


@operation
def unique_inverse(x: ArrayLike, /) -> UniqueInverse:
    """The distinct values and which of them each element is; NaNs are all distinct. Raises TraceError in a trace."""
    found = unique_all(_known(x, "unique_inverse", "pass what it gives as an argument"))
    return UniqueInverse(found.values, found.inverse_indices)


@operation
def unique_values(x: ArrayLike, /) -> Tensor:
    """The distinct values in ascending order; NaNs are all distinct. Raises TraceError in a trace."""
    x = _known(x, "unique_values", "pass what it gives as an argument")
    return concrete(np.unique(x._array, equal_nan=False))


@operation
def isin(x1: ArrayLike, x2: ArrayLike, /, *, invert: bool = False) -> Tensor:
    """Whether each element of x1 is among those of x2, or is not with `invert`; no NaN is among any.

    In a trace every element is compared with every one of x2.
    """
    x, among = operands(x1, x2)
    if x.is_symbolic or among.is_symbolic:
        found = any(equal(expand_dims(x, -1), reshape(among, -1)), axis=-1)
    else:
        found = concrete(np.asarray(np.isin(x._array, among._array)))
    return bitwise_invert(found) if invert else found


def _known(x: ArrayLike, function: str, instead: str) -> Tensor:
    """A concrete tensor. Raises TraceError for a symbolic one."""
    x = as_tensor(x)
    if x.is_symbolic:
        raise TraceError(
            f"gx.{function} gives as many elements as the values decide, and shapes are static while tracing",
            got=f"a symbolic {x.type}",
            hint=f"call it outside of compiled functions; {instead}",
        )
    return x


__all__ = ["isin", "nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"]
