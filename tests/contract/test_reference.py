"""References against what they should mean, computed another way: Python's numbers, loops, other formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate
from graphc.op import Op
from graphc.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tests.contract.samples import Sample, all_samples
from tests.contract.values import ordinary, special

SIGNED = [int8, int16, int32, int64]
UNSIGNED = [uint8, uint16, uint32, uint64]


def apply(op: Op, *arrays: np.ndarray, **attrs: object) -> np.ndarray:
    sample = Sample(op, arrays, dict(attrs))
    return evaluate(sample.graph().outputs[0], arrays)


def wrapped(value: int, dtype: DType) -> int:
    """The integer of that width that equals `value` modulo 2^bits."""
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if dtype.is_signed and value >> (dtype.bits - 1) else value


def pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    a, b = zip(*product(special(dtype), special(dtype)), strict=True)
    return np.array(a, dtype.numpy), np.array(b, dtype.numpy)


EXACT: dict[Op, Callable[[Any, Any], Any]] = {
    ops.add: lambda a, b: a + b,
    ops.subtract: lambda a, b: a - b,
    ops.multiply: lambda a, b: a * b,
    ops.floor_divide: lambda a, b: a // b if b else 0,
    ops.remainder: lambda a, b: a % b if b else 0,
    ops.maximum: max,
    ops.minimum: min,
}


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED, ids=str)
@pytest.mark.parametrize("op", EXACT, ids=lambda op: op.name)
def test_integer_arithmetic_is_pythons_wrapped(op: Op, dtype: DType) -> None:
    a, b = pairs(dtype)
    expected = [wrapped(EXACT[op](int(x), int(y)), dtype) for x, y in zip(a, b, strict=True)]
    assert apply(op, a, b).tolist() == expected


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED, ids=str)
def test_shifts_by_any_amount(dtype: DType) -> None:
    x, amount = pairs(dtype)
    mask = (1 << dtype.bits) - 1

    def left(x: int, by: int) -> int:
        return wrapped(x << by, dtype) if by < dtype.bits else 0

    def right(x: int, by: int) -> int:
        return x >> min(by, dtype.bits)  # Python's is arithmetic

    for op, meaning in ((ops.left_shift, left), (ops.right_shift, right)):
        expected = [meaning(int(v), int(n) & mask) for v, n in zip(x, amount, strict=True)]
        assert apply(op, x, amount).tolist() == expected


@pytest.mark.parametrize("dtype", [int8, int64, uint8, uint64], ids=str)
def test_integer_powers(dtype: DType) -> None:
    x, n = pairs(dtype)

    def power(x: int, n: int) -> int:
        if n >= 0:
            return wrapped(pow(x, n, 1 << dtype.bits), dtype)
        return {1: 1, -1: 1 if n % 2 == 0 else -1}.get(x, 0)

    assert apply(ops.power, x, n).tolist() == [power(int(a), int(b)) for a, b in zip(x, n, strict=True)]


@pytest.mark.parametrize("target", SIGNED + UNSIGNED, ids=str)
@pytest.mark.parametrize("source", [float16, bfloat16, float32, float64], ids=str)
def test_float_to_integer_truncates_and_saturates(source: DType, target: DType) -> None:
    def convert(v: float) -> int:
        if math.isnan(v):
            return 0
        if math.isinf(v):
            return int(target.max if v > 0 else target.min)
        return min(max(int(v), int(target.min)), int(target.max))

    limits = [float(target.min), float(target.max), float(target.max) / 2, -0.9, 0.9]
    with np.errstate(over="ignore"):
        x = np.concatenate([special(source), np.array(limits).astype(source.numpy)])
    assert apply(ops.cast, x, dtype=target).tolist() == [convert(float(v)) for v in x]


@pytest.mark.parametrize("target", SIGNED + UNSIGNED, ids=str)
@pytest.mark.parametrize("source", SIGNED + UNSIGNED, ids=str)
def test_integer_to_integer_wraps(source: DType, target: DType) -> None:
    x = special(source)
    assert apply(ops.cast, x, dtype=target).tolist() == [wrapped(int(v), target) for v in x]


@pytest.mark.parametrize("source", DTYPES.values(), ids=str)
def test_to_bool_is_not_zero(source: DType) -> None:
    x = special(source)
    assert apply(ops.cast, x, dtype=bool_).tolist() == [float(v) != 0 for v in x]


def test_bfloat16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF], np.uint32)
    rounded = apply(ops.cast, bits.view(np.float32), dtype=bfloat16)
    assert [hex(b) for b in rounded.view(np.uint16)] == ["0x3f80", "0x3f82", "0x3f81", "0x3f80", "0x7f80"]


def test_16_bit_floats_compute_in_float32() -> None:
    """256² overflows float16, and 1 + 2⁻¹⁰ is no bfloat16; only what is stored is rounded."""
    x = np.array([256.0], np.float16)
    assert apply(ops.square, x).tolist() == [math.inf]
    assert apply(ops.hypot, x, x).tolist() == [float(np.float16(math.hypot(256, 256)))]
    many = np.full((4096,), 1, bfloat16.numpy)
    assert float(apply(ops.sum, many, axes=(0,))) == 4096


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64], ids=str)
@pytest.mark.parametrize("op", [ops.maximum, ops.minimum], ids=lambda op: op.name)
def test_nan_wins_over_numbers(op: Op, dtype: DType) -> None:
    a, b = np.array([math.nan, 1, math.nan], dtype.numpy), np.array([1, math.nan, math.nan], dtype.numpy)
    assert np.isnan(apply(op, a, b).astype(np.float64)).all()


def test_argmax_takes_the_first_and_nan_wins() -> None:
    x = np.array([[1, 3, 3], [math.nan, 5, math.nan], [-math.inf, -math.inf, -math.inf]], np.float32)
    assert apply(ops.argmax, x, axes=(1,)).tolist() == [1, 0, 0]
    assert apply(ops.argmin, x, axes=(1,)).tolist() == [0, 0, 0]
    assert apply(ops.argmax, np.array([[0, 1], [7, 7]]), axes=(0, 1)).tolist() == 2


ONE_LINE: dict[Op, Callable[[float], float]] = {
    ops.exp: math.exp, ops.expm1: math.expm1, ops.log1p: math.log1p, ops.sin: math.sin, ops.cos: math.cos,
    ops.tan: math.tan, ops.asinh: math.asinh, ops.sinh: math.sinh, ops.cosh: math.cosh, ops.tanh: math.tanh,
    ops.atan: math.atan, ops.erf: math.erf, ops.erfc: math.erfc, ops.exp2: lambda v: 2.0**v,
    ops.sigmoid: lambda v: 1 / (1 + math.exp(-v)), ops.cbrt: lambda v: math.copysign(abs(v) ** (1 / 3), v),
    ops.reciprocal: lambda v: 1 / v, ops.square: lambda v: v * v, ops.floor: math.floor, ops.ceil: math.ceil,
    ops.trunc: math.trunc, ops.round: round, ops.abs: abs,
}  # fmt: skip
POSITIVE: dict[Op, Callable[[float], float]] = {
    ops.log: math.log, ops.log2: math.log2, ops.log10: math.log10, ops.sqrt: math.sqrt,
    ops.rsqrt: lambda v: 1 / math.sqrt(v),
}  # fmt: skip


@pytest.mark.parametrize("op", ONE_LINE, ids=lambda op: op.name)
def test_functions_are_pythons(op: Op) -> None:
    x = np.linspace(-0.95, 3, 50)
    assert np.allclose(apply(op, x), [ONE_LINE[op](float(v)) for v in x], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("op", POSITIVE, ids=lambda op: op.name)
def test_functions_of_positive_numbers_are_pythons(op: Op) -> None:
    x = np.geomspace(1e-3, 1e3, 50)
    assert np.allclose(apply(op, x), [POSITIVE[op](float(v)) for v in x], rtol=1e-14, atol=1e-15)


def naive_dot(a: np.ndarray, b: np.ndarray, contract: tuple, batch: tuple) -> np.ndarray:
    """By einsum, with a letter for each axis."""
    left, right = list("abcdefgh"[: a.ndim]), list("ijklmnop"[: b.ndim])
    for i, j in zip((*contract[0], *batch[0]), (*contract[1], *batch[1]), strict=True):
        right[j] = left[i]
    kept = [left[i] for i in batch[0]]
    kept += [x for i, x in enumerate(left) if i not in (*contract[0], *batch[0])]
    kept += [x for j, x in enumerate(right) if j not in (*contract[1], *batch[1])]
    return np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


def test_dot_general_is_an_einsum() -> None:
    for sample in all_samples("dot_general"):
        if sample.arrays[0].dtype in (np.float64, np.int32, np.uint8):
            attrs = dict(sample.attrs)
            result = attrs.pop("result", None)
            wide = sample.arrays if result is None else [a.astype(result.numpy) for a in sample.arrays]
            expected = naive_dot(wide[0], wide[1], **attrs)
            got = apply(sample.op, *sample.arrays, **sample.attrs)
            assert got.shape == expected.shape and np.allclose(got, expected), str(sample)


def test_gather_and_scatter_by_loops() -> None:
    x, index = ordinary(float64, (4, 3, 2)), np.array([[2, 0], [1, 1]])
    other = np.array([[1, 0], [0, 1]])
    got = apply(ops.gather, x, index, other, axes=(0, 2))
    assert got.shape == (2, 2, 3)
    updates = ordinary(float64, (2, 2, 3), 1)
    expected = x.copy()
    for i, j in product(range(2), range(2)):
        assert np.array_equal(got[i, j], x[index[i, j], :, other[i, j]])
        expected[index[i, j], :, other[i, j]] += updates[i, j]
    assert np.allclose(apply(ops.scatter_add, x, updates, index, other, axes=(0, 2)), expected)
    rows = np.array([1, 0, 1])
    assert apply(ops.pick, x[0], rows).tolist() == [x[0, i, r] for i, r in enumerate(rows)]


def philox_block(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox4x32-10 on Python integers, from the paper's definition."""
    c, (k0, k1), word = [counter, 0, 0, 0], key, 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & word, (p0 >> 32) ^ c[3] ^ k1, p0 & word]
        k0, k1 = (k0 + 0x9E3779B9) & word, (k1 + 0xBB67AE85) & word
    return c


def test_philox() -> None:
    """The all-zero vector is among the known answers that Random123 publishes."""
    assert [hex(w) for w in philox_block(0, (0, 0))] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]
    cases = [(0, (0, 0)), (1, (0, 0)), (0xFFFFFFFF, (0xDEADBEEF, 0xFFFFFFFF)), (12345, (1, 2))]
    for counter, key in cases:
        arrays = [np.full(4, v, np.uint32) for v in (*key, counter)]
        assert apply(ops.philox, *arrays, np.arange(4, dtype=np.uint32)).tolist() == philox_block(
            counter, key
        )


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_floor_division_of_infinities_is_the_standards(dtype: DType) -> None:
    """The array API's special cases; NumPy gives NaN for ∞ // 1 and −1 for −1 // ∞."""
    inf = math.inf
    cases = [(inf, 2, inf), (inf, -2, -inf), (-inf, 2, -inf), (-inf, -2, inf), (3, inf, 0.0), (3, -inf, -0.0),
             (-3, inf, -0.0), (-3, -inf, 0.0), (inf, inf, math.nan), (inf, 0, inf), (3, 0, inf), (-3, 0.0, -inf),
             (0, 0, math.nan), (math.nan, inf, math.nan), (-7, 2, -4)]  # fmt: skip
    a, b, expected = (np.array(column, dtype.numpy) for column in zip(*cases, strict=True))
    with np.errstate(all="ignore"):
        got = apply(ops.floor_divide, a, b)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got)[expected == 0], np.signbit(expected)[expected == 0])


@pytest.mark.parametrize(
    "n", [np.float32(0.5), np.full(4, 0.5, np.float32)], ids=["repeated", "each its own"]
)
def test_powers_of_one_half_do_not_depend_on_how_it_lies_in_memory(n: np.ndarray) -> None:
    x = np.array([-math.inf, -0.0, 4, math.inf], np.float32)
    got = apply(ops.power, x, np.broadcast_to(n, x.shape))
    assert got.tolist() == [math.inf, 0, 2, math.inf] and not np.signbit(got).any()
