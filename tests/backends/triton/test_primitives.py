"""Every scalar primitive, at every dtype that computes, on edge cases: Triton's text against NumPy's meaning."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.backends.triton.compile import compile_source
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import run_kernel_interpreted
from graphc.backends.triton.source import kernel_source
from graphc.kernel import Apply, Kernel
from graphc.scalar import Prim, Recipe, Step
from graphc.types import DTYPES, DType, bool_, float32, float64, int8, int32, int64, uint32, uint64
from tests.build_kernels import Build, axes
from tests.kernel_interpreter import run_kernel

ANY = (Prim.EQ, Prim.NE)
NUMBERS = (Prim.ADD, Prim.SUB, Prim.MUL, Prim.MAX, Prim.MIN, Prim.LT, Prim.LE)
FLOAT_UNARY = (
    Prim.NEG, Prim.ABS, Prim.FLOOR, Prim.CEIL, Prim.TRUNC, Prim.ROUND, Prim.SQRT, Prim.EXP, Prim.EXP2, Prim.LOG,
    Prim.LOG2, Prim.SIN, Prim.COS, Prim.ERF,
)  # fmt: skip
BITS = (Prim.AND, Prim.OR, Prim.XOR)
COMPARISONS = (Prim.EQ, Prim.NE, Prim.LT, Prim.LE)
COMPUTES = [d for d in DTYPES.values() if d.computes_as is d]


def applications(dtype: DType) -> list[tuple[Prim, tuple[int, ...], DType]]:
    """Primitives that the dtype has, which of the operands a, b, c, mask (0 to 3) they take, and their result."""
    made: list[tuple[Prim, tuple[int, ...], DType]] = [(p, (0, 1), bool_) for p in ANY]
    made.append((Prim.SELECT, (3, 0, 1), dtype))
    made += [(Prim.CAST, (0,), to) for to in DTYPES.values() if to is not dtype]
    if not dtype.is_float:
        made += [(p, (0, 1), dtype) for p in BITS] + [(Prim.NOT, (0,), dtype)]
    if dtype.is_bool:
        return made
    made += [(p, (0, 1), bool_ if p in COMPARISONS else dtype) for p in NUMBERS]
    if dtype is float32:  # the meaning in NumPy rounds twice in float64
        made.append((Prim.FMA, (0, 1, 2), dtype))
    made += [(Prim.BITCAST, (0,), to) for to in COMPUTES if to.bits == dtype.bits and to is not dtype]
    if dtype.is_float:
        return made + [(p, (0,), dtype) for p in FLOAT_UNARY] + [(Prim.DIV, (0, 1), dtype)]
    made += [(Prim.ABS, (0,), dtype), (Prim.SHL, (0, 1), dtype), (Prim.SHR, (0, 1), dtype)]
    if dtype.is_unsigned:
        made.append((Prim.UMULHI, (0, 1), dtype))
    return made + [(Prim.QUOT, (0, 2), dtype)]


def edges(dtype: DType) -> np.ndarray:
    """Numbers at which something changes."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_float:
        info = np.finfo(dtype.numpy)
        large = [2.0**31, 2.0**63, 3e9, 1e10, float(info.max), np.inf]
        small = [0.0, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 3.7, 127.5, 255.0, float(info.tiny) / 4]
        return np.array([*small, *large, *(-x for x in small + large), np.nan], dtype.numpy)
    numbers = [dtype.min, dtype.max, 0, 1, 2, 3, 7, dtype.bits - 1, dtype.bits, dtype.bits + 1, 100, 120]
    return np.array(numbers, dtype.numpy)


def arguments(dtype: DType) -> list[np.ndarray]:
    """All pairs (a, b) of edges, and divisors c that are neither 0 nor −1."""
    a, b = (x.ravel() for x in np.meshgrid(edges(dtype), edges(dtype)))
    c = np.where((a == 0) | (a + 1 == 0), 3, a) if dtype.is_integer else a
    return [a, b, c.astype(dtype.numpy), np.arange(len(a)) % 3 == 0]


def kernel_of(dtype: DType, size: int, with_constants: bool = False) -> Kernel:
    """A loop that applies every primitive; in recipes of one step, which are written in line."""
    b = Build()
    (i,), (at,) = axes(i0=size)
    loads = [b.load(b.slot(name, size, dtype), at) for name in "abc"]
    loads.append(b.load(b.slot("mask", size, bool_), at))
    for number, (prim, inputs, result) in enumerate(applications(dtype)):
        params = tuple(b.values[loads[n]].dtype for n in inputs)
        recipe = Recipe(prim.text, params, (Step(prim, tuple(range(len(inputs))), result),), (len(inputs),))
        value = b.add(Apply(recipe, tuple(loads[n] for n in inputs)))
        b.store(b.slot(f"{prim.text}_{number}", size, result), at, value)
    return b.kernel((i,))


@pytest.mark.parametrize("dtype", COMPUTES, ids=str)
def test_primitives_mean_the_same(dtype: DType, interpreter: Interpreter) -> None:
    given = arguments(dtype)
    kernel = kernel_of(dtype, len(given[0]))
    arrays = given + [np.zeros(s.size, s.dtype.numpy) for s in kernel.slots[4:]]
    expected = [a.copy() for a in arrays]
    run_kernel(kernel, expected)
    run_kernel_interpreted(kernel, arrays, interpreter)
    for slot, got, want in zip(kernel.slots, arrays, expected, strict=True):
        if slot.dtype.bits == 16 and slot.dtype.is_float:  # NumPy sees no equal NaNs in bfloat16
            got, want = got.astype(np.float32), want.astype(np.float32)
        if slot.dtype.is_float and slot.name.split("_")[0] in (
            "exp",
            "exp2",
            "log",
            "log2",
            "sin",
            "cos",
            "erf",
        ):
            np.testing.assert_allclose(got, want, rtol=4 * np.finfo(got.dtype).eps, err_msg=slot.name)
        else:
            np.testing.assert_array_equal(got, want, slot.name)
            if slot.dtype.is_float:
                sure = ~np.isnan(want.astype(np.float64))
                np.testing.assert_array_equal(np.signbit(got)[sure], np.signbit(want)[sure], slot.name)


@pytest.mark.parametrize("dtype", [float32, float64, int8, int32, int64, uint32, uint64, bool_], ids=str)
def test_primitives_compile(dtype: DType) -> None:
    (artifact,) = compile_source(kernel_source(kernel_of(dtype, 64)))
    assert artifact.cubin.startswith(b"\x7fELF")
