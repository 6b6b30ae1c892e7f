"""Which dtype operations compute in: arrays of one kind, of different kinds, and weak Python numbers."""

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError
from graphc.frontend.promotion import common_dtype, in_range, promote
from graphc.types import DTYPES, as_dtype

# What PyTorch gives, but for uint16/32/64 with signed integers, where it has no answer for most.
PAIRS = [
    ("bool", "bool", "bool"),
    ("bool", "int8", "int8"),
    ("bool", "uint8", "uint8"),
    ("bool", "float16", "float16"),
    ("int8", "int32", "int32"),
    ("uint8", "uint32", "uint32"),
    ("uint8", "int8", "int16"),
    ("uint8", "int32", "int32"),
    ("uint16", "int16", "int32"),
    ("uint32", "int8", "int64"),
    ("int64", "float16", "float16"),
    ("int32", "float32", "float32"),
    ("uint64", "bfloat16", "bfloat16"),
    ("int64", "float64", "float64"),
    ("float16", "bfloat16", "float32"),
    ("float16", "float32", "float32"),
    ("bfloat16", "float64", "float64"),
    ("float32", "float64", "float64"),
]


@pytest.mark.parametrize(("a", "b", "result"), PAIRS)
def test_two_arrays(a: str, b: str, result: str) -> None:
    assert promote(as_dtype(a), as_dtype(b)).name == promote(as_dtype(b), as_dtype(a)).name == result
    if a != "bool":
        x, y = gx.ones(2, dtype=a), gx.ones((3, 1), dtype=b)
        assert (x + gx.astype(y, b)).dtype.name == result if b != "bool" else True


def test_uint64_with_signed_is_an_error() -> None:
    with pytest.raises(DTypeError, match="no integer dtype holds"):
        gx.ones(1, dtype="uint64") + gx.ones(1, dtype="int64")


def test_promotion_is_commutative_and_idempotent() -> None:
    for a in DTYPES.values():
        assert promote(a, a) is a
        for b in DTYPES.values():
            if {a.name, b.name} & {"uint64"} and (a.is_signed or b.is_signed):
                continue
            assert promote(a, b) is promote(b, a)
            assert promote(promote(a, b), b) is promote(a, b)


WEAK = [
    ("float16", 2, "float16"),
    ("bfloat16", 2.5, "bfloat16"),
    ("float64", 1, "float64"),
    ("uint8", 3, "uint8"),
    ("int16", True, "int16"),
    ("int64", 0.5, "float32"),
    ("uint8", 0.5, "float32"),
    ("bool", 3, "int64"),
    ("bool", 0.5, "float32"),
]


@pytest.mark.parametrize(("dtype", "number", "result"), WEAK)
def test_python_numbers_are_weak(dtype: str, number: float, result: str) -> None:
    x = gx.ones(3, dtype=dtype)
    assert (x * number).dtype.name == (number * x).dtype.name == result


def test_weak_only_within_one_operation() -> None:
    two = gx.asarray(2.0)  # an array now, and strong
    assert (gx.ones(3, dtype="float16") * two).dtype is gx.float32


def test_numpy_scalars_are_arrays() -> None:
    x = gx.ones(3)
    assert (x * np.float64(2)).dtype is gx.float64  # though np.float64 is a Python float too
    assert (np.float64(2) * x).dtype is gx.float64
    assert (x * np.float16(2)).dtype is gx.float32


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("uint8", 256), ("uint8", -1), ("int8", 128), ("int64", 2**63), ("float16", 70000), ("float32", 1e39)],
)
def test_numbers_out_of_range(dtype: str, number: float) -> None:
    with pytest.raises(DTypeError, match="must fit"):
        gx.ones(3, dtype=dtype) + number


def test_largest_finite_numbers_fit() -> None:
    assert in_range(65504.0, gx.float16) == 65504.0
    assert in_range(65519.0, gx.float16) == 65519.0  # rounds to 65504
    assert in_range(float("inf"), gx.float16) == float("inf")
    assert in_range(2**64 - 1, gx.uint64) == 2**64 - 1
    with pytest.raises(DTypeError):
        in_range(65520.0, gx.float16)


def test_defaults() -> None:
    assert gx.asarray(1.5).dtype is gx.float32
    assert gx.asarray([1.5, 2]).dtype is gx.float32
    assert gx.asarray([1, 2]).dtype is gx.int64
    assert gx.asarray(True).dtype is gx.bool
    assert gx.asarray(np.float64(1)).dtype is gx.float64
    assert gx.asarray(np.ones(2)).dtype is gx.float64
    assert gx.asarray([np.float64(1)]).dtype is gx.float64
    assert common_dtype((), (1, 2.0)) is gx.float32


def test_integers_in_float_functions() -> None:
    n = gx.asarray([1, 2, 3])
    assert (n / n).dtype is gx.mean(n).dtype is gx.exp(n).dtype is gx.float32
    assert gx.sum(gx.astype(n, "int8")).dtype is gx.int64
    assert gx.sum(gx.astype(n, "uint8")).dtype is gx.uint64
    assert gx.sum(gx.asarray([True, True])).dtype is gx.int64
    assert (n / gx.astype(n, "float16")).dtype is gx.float16
