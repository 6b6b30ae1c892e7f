"""What the lowering of loops and reductions promises beyond being right: the mode a kernel takes, results that do not
depend on how work is shared, indices that are checked, empty axes, code without library calls."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from graphc import ops
from graphc.backends.kernels.segments import segments
from graphc.backends.kernels.sums import sum_of
from graphc.backends.llvm import stages
from graphc.backends.llvm.lower import lower
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import Target, describe, host_target
from graphc.dataclass import replace
from graphc.index import Axis, Bound, Gathered, Index
from graphc.ir import Node
from graphc.kernel import Accumulate, Apply, Const, Dot, Inside, Kernel, Load, Reduce, Slot, Store
from graphc.passes.fuse import fuse
from graphc.scalar import record
from graphc.types import DType, bfloat16, bool_, float16, float32, float64, int8, int16, int32, int64, uint8
from tests import graphs
from tests.backends.llvm.native import Compiled, compile_kernel
from tests.backends.llvm.test_lowering_fuzz import check
from tests.kernel_interpreter import run_kernel

AVX2 = describe("x86_64-unknown-linux-gnu", "znver3", "+avx2,+fma,+avx,+f16c")


def kernel_of(inputs: list[Node], output: Node) -> Kernel:
    (fused,) = fuse(graphs.graph(inputs, [output]))
    return fused.kernel


def random_arrays(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = 3 if all(s.dtype.is_float for s in kernel.slots) else 1
    return [(rng.standard_normal(s.size) * scale).astype(s.dtype.numpy) for s in kernel.slots]


def softmax_kernel(rows: int, columns: int, axis: int = 1) -> Kernel:
    x = graphs.source((rows, columns))
    return kernel_of([x], graphs.softmax(x, axis))


def column_sum(rows: int, columns: int) -> Kernel:
    x = graphs.source((rows, columns))
    return kernel_of([x], ops.sum(x, axes=(0,)))


def transposed_sum(rows: int, columns: int) -> Kernel:
    x, y = graphs.source((rows, columns)), graphs.source((columns, rows))
    return kernel_of([x, y], ops.add(x, graphs.transposed(y)))


def full_sum(size: int) -> Kernel:
    x = graphs.source((size,))
    return kernel_of([x], ops.sum(x, axes=(0,)))


def both_sums(rows: int, columns: int, transposed: bool) -> Kernel:
    x = graphs.source((rows, columns))
    y = graphs.transposed(x) if transposed else x
    (fused,) = fuse(graphs.graph([x], [ops.sum(y, axes=(0,)), ops.sum(y, axes=(1,))]))
    return fused.kernel


def argmax_kernel(rows: int, columns: int, axis: int) -> Kernel:
    x = graphs.source((rows, columns))
    return kernel_of([x], ops.argmax(x, axes=(axis,)))


MODES: dict[str, tuple[Kernel, str]] = {
    "a row keeps its exponentials": (softmax_kernel(70, 1000), "along r0.*kept per row"),
    "short rows across lanes": (softmax_kernel(1003, 10), "along i0.*transposed along r0"),
    "columns in registers": (column_sum(37, 50), "along i0, 8 side by side"),
    "columns line by line": (column_sum(100, 1500), "line by line"),
    "columns of several sweeps": (softmax_kernel(40, 300, 0), "along i0, 4 side by side"),
    "tiles": (transposed_sum(135, 270), "transposed along i0"),
    "a long row in parts": (full_sum(1_000_003), "units.*\n.*along i0p"),
    "rows and columns": (both_sums(300, 200, False), "lanes along i.*\n"),
    "columns and rows": (both_sums(300, 200, True), "lanes along r.*\n"),
    "few columns in parts": (column_sum(30_001, 12), "\n.*\n"),
    "argmax of rows": (argmax_kernel(20, 100, 1), "along r0"),
    "argmax of columns": (argmax_kernel(40, 70, 0), "along i0"),
}


@pytest.mark.parametrize("name", MODES)
def test_mode_and_meaning(name: str) -> None:
    kernel, expected = MODES[name]
    plans = "\n".join(lower(kernel, AVX2, "k").plans)
    assert re.search(expected, plans, re.DOTALL), plans
    check(kernel, random_arrays(kernel), compile_kernel(kernel))


@pytest.mark.parametrize("name", MODES)
def test_results_do_not_depend_on_sharing(name: str) -> None:
    """One unit at a time, first to last or last to first, or all in one go: the same bits."""
    kernel, _ = MODES[name]
    compiled = compile_kernel(kernel)
    results = []
    for grain in (1, 7, 1 << 30):
        for reverse in (False, True):
            arrays = random_arrays(kernel)
            compiled(arrays, reverse, grain)
            results.append(b"".join(a.tobytes() for a in arrays))
    assert len(set(results)) == 1


# ---- indices -------------------------------------------------------------------------------------------------

I, J = Axis("i", 6), Axis("j", 11)


def gather_kernel(bounds: tuple[Bound, ...] = ()) -> Kernel:
    """s2[i, j] = s1[s0[i], j]"""
    index = Load(0, Index.of(I), (), int64)
    row = Index(((Gathered(0, 4, frozenset((I,))), 1),))
    load = Load(1, row * 11 + Index.of(J), bounds, float32)
    slots = (Slot(int64, 6), Slot(float32, 44), Slot(float32, 66))
    return Kernel(slots, (I, J), (), (), (index, load), (Store(2, Index.of(I) * 11 + Index.of(J), 1),))


def scatter_kernel() -> Kernel:
    """s2[s0[i], j] += s1[i, j]"""
    index = Load(0, Index.of(I), (), int64)
    load = Load(1, Index.of(I) * 11 + Index.of(J), (), float32)
    place = Index(((Gathered(0, 4, frozenset((I,))), 1),)) * 11 + Index.of(J)
    slots = (Slot(int64, 6), Slot(float32, 66), Slot(float32, 44))
    return Kernel(slots, (I, J), (), (), (index, load), (Store(2, place, 1, scatter=True),))


@pytest.mark.parametrize("bad", [4, -1, 1 << 40])
@pytest.mark.parametrize("make", [gather_kernel, scatter_kernel])
def test_bad_index_is_reported(make: Callable[[], Kernel], bad: int) -> None:
    kernel = make()
    arrays = random_arrays(kernel)
    arrays[0][:] = [3, 0, bad, 1, 1, 3]
    expected = [a.copy() for a in arrays]
    assert not run_kernel(kernel, expected)
    compiled = compile_kernel(kernel)
    assert compiled(arrays) == 1  # task 0
    assert compiled.bad_index == bad
    np.testing.assert_allclose(arrays[2], expected[2], rtol=1e-6)


@pytest.mark.parametrize("axis", [I, J], ids=["along points", "along lanes"])
def test_bad_index_outside_of_bounds_is_no_error(axis: Axis) -> None:
    kernel = gather_kernel((Bound(Index.of(axis), 1, 1),))  # never holds
    arrays = random_arrays(kernel)
    arrays[0][:] = 77
    assert compile_kernel(kernel)(arrays) == 0
    assert not arrays[2].any()


# ---- segments ------------------------------------------------------------------------------------------------


def joined(axis: int) -> Kernel:
    """s2 = −s0 and then 2·s1, matrices of 200 × 150, one behind the other along an axis."""
    i, j = Axis("i", 200 * (2 - axis)), Axis("j", 150 * (1 + axis))
    along, half = (Index.of(i), 200) if axis == 0 else (Index.of(j), 150)
    first, second = Bound(along, 0, half), Bound(along, half, 2 * half)
    place = Index.of(i) * 150 + Index.of(j)
    shifted = Index.of(i) * 150 + Index.of(j) - (30_000 if axis == 0 else 150)
    negative = record("negative", lambda s, a: -a, (float32,))
    twice = record("twice", lambda s, a: a * 2, (float32,))
    choose = record("select", lambda s, m, a, b: s.select(m, a, b), (bool_, float32, float32))
    values = (
        Load(0, place, (first,), float32),
        Apply(negative, (0,)),
        Load(1, shifted, (second,), float32),
        Apply(twice, (2,)),
        Inside((first,)),
        Apply(choose, (4, 1, 3)),
    )
    slots = (Slot(float32, 30_000), Slot(float32, 30_000), Slot(float32, 60_000))
    return Kernel(slots, (i, j), (), (), values, (Store(2, Index.of(i) * j.size + Index.of(j), 5),))


def padded() -> Kernel:
    x = graphs.source((300, 170))
    return kernel_of([x], ops.pad(x, graphs.number(2.5, graphs.source(())), low=(1, 3), high=(0, 2)))


@pytest.mark.parametrize(
    "kernel, count", [(joined(0), 2), (joined(1), 2), (padded(), 3)], ids=["rows", "columns", "pad"]
)
def test_bounds_vanish_in_segments(kernel: Kernel, count: int) -> None:
    compiled = compile_kernel(kernel)
    assert len(compiled.native.tasks) == count
    check(kernel, random_arrays(kernel), compiled)


def test_segments_compute_what_is_selected_only() -> None:
    first, second = (str(k) for k in segments(joined(1)))
    assert "negative" in first and "twice" not in first
    assert "twice" in second and "negative" not in second
    assert "where" not in first + second


# ---- edges ---------------------------------------------------------------------------------------------------


def reduction(rows: int, columns: int, dtype: DType = float32) -> Kernel:
    """s1[i] = 1 + the maximum of s0[i, j] over j, and s2[i, j] = s0[i, j]"""
    i, j = Axis("i", rows), Axis("j", columns)
    where = Index.of(i) * columns + Index.of(j)
    low = Const(0xFF800000, float32)
    most = record("max", lambda s, a, b: s.max(a, b), (dtype, dtype))
    plus = record("plus", lambda s, a: a + 1, (dtype,))
    values = (Load(0, where, (), dtype), Reduce(most, (low,), plus, (0,), (j,)))
    slots = (Slot(dtype, rows * columns), Slot(dtype, rows), Slot(dtype, rows * columns))
    return Kernel(slots, (i,), (j,), (), values, (Store(1, Index.of(i), 1), Store(2, where, 0)))


def test_no_rows_do_nothing() -> None:
    assert lower(reduction(0, 5), host_target(), "k").tasks == ()


def test_empty_rows_are_the_neutral_element() -> None:
    kernel = reduction(3, 0)
    arrays = random_arrays(kernel)
    compile_kernel(kernel)(arrays)
    assert (arrays[1] == -np.inf).all()


def test_sum_over_an_empty_axis_is_zero() -> None:
    i, j = Axis("i", 0), Axis("j", 5)
    load = Load(0, Index.of(i) * 5 + Index.of(j), (), float32)
    slots = (Slot(float32, 0), Slot(float32, 5))
    total = sum_of(0, float32, (i,))
    held = Accumulate(total.combine, total.init, total.finish, total.inputs, total.axes)
    kernel = Kernel(slots, (i, j), (), (), (load, held), (Store(1, Index.of(j), 1),))
    arrays = [np.zeros(0, np.float32), np.full(5, 9, np.float32)]
    compile_kernel(kernel)(arrays)
    assert not arrays[1].any()


@pytest.mark.parametrize("place", [0, 8, 39, 41])
def test_maximum_keeps_nan(place: int) -> None:
    kernel = reduction(2, 42)
    arrays = random_arrays(kernel)
    arrays[0][place] = np.nan
    compile_kernel(kernel)(arrays)
    assert np.isnan(arrays[1][0]) and not np.isnan(arrays[1][1])


def test_update_in_place() -> None:
    """s0[i] = 2 · s0[i]: every element is read before it is written."""
    i = Axis("i", 1001)
    double = record("double", lambda s, a: a * 2, (float32,))
    values = (Load(0, Index.of(i), (), float32), Apply(double, (0,)))
    kernel = Kernel((Slot(float32, 1001),), (i,), (), (), values, (Store(0, Index.of(i), 1),))
    array = np.arange(1001, dtype=np.float32)
    compile_kernel(kernel)([array])
    np.testing.assert_array_equal(array, 2 * np.arange(1001))


@pytest.mark.parametrize("dtype", [int32, float64, uint8])
@pytest.mark.parametrize("shape", [(1, 30, 17), (23, 1, 40), (5, 6, 70)])
def test_dots_as_sums(dtype: DType, shape: tuple[int, int, int]) -> None:
    m, n, k = (Axis(name, size) for name, size in zip("mnk", shape, strict=True))
    a = Load(0, Index.of(m) * k.size + Index.of(k), (), dtype)
    b = Load(1, Index.of(k) * n.size + Index.of(n), (), dtype)
    slots = (Slot(dtype, m.size * k.size), Slot(dtype, k.size * n.size), Slot(dtype, m.size * n.size))
    dot = Dot((0, 1), (k,), dtype)
    store = Store(2, Index.of(m) * n.size + Index.of(n), 2)
    kernel = Kernel(slots, (m, n), (), (k,), (a, b, dot), (store,))
    check(kernel, random_arrays(kernel), compile_kernel(stages.dots_as_sums(kernel)))


# ---- code ----------------------------------------------------------------------------------------------------


def cast_kernel(source: DType, to: DType) -> Kernel:
    i = Axis("i", 64)
    cast = record("cast", lambda s, x, dtype: s.cast(x, dtype), (source,), {"dtype": to})
    values = (Load(0, Index.of(i), (), source), Apply(cast, (0,)))
    return Kernel((Slot(source, 64), Slot(to, 64)), (i,), (), (), values, (Store(1, Index.of(i), 1),))


@pytest.mark.parametrize(
    "source, to",
    [
        (float32, int32),
        (float32, bfloat16),
        (bfloat16, float32),
        (float64, float16),
        (float64, bfloat16),
        (float32, bool_),
    ],
    ids=str,
)
def test_casts_stay_in_vectors(source: DType, to: DType) -> None:
    """No library call, and (but for float64, which has four lanes) no element goes through a scalar register."""
    assembly = jit.emit_assembly(lower(cast_kernel(source, to), AVX2, "k").ir, AVX2)
    assert "call" not in assembly and "vcvttss2si" not in assembly


@pytest.mark.parametrize("has_half", [True, False])
@pytest.mark.parametrize("source", [float32, float64])
@pytest.mark.parametrize("to", [float16, bfloat16])
def test_casts_to_16_bits_round_once(source: DType, to: DType, has_half: bool) -> None:
    """Halfway between two neighbours, and a little to both sides of that."""
    kernel = cast_kernel(source, to)
    bits = 11 if to is float16 else 8
    steps = np.arange(32) + 33
    halfway = steps * (1 + 2.0**-bits)
    values = np.concatenate([halfway, halfway * (1 + 2.0**-22), [np.inf, -np.inf, np.nan, 1e30, -0.0, 6e-8]])
    x = np.resize(values, 64).astype(source.numpy)
    results = np.zeros(64, to.numpy)
    target = host_target()
    compile_kernel(kernel, replace(target, has_half=has_half and target.has_half))([x, results])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(results, x.astype(to.numpy))


@pytest.mark.parametrize("has_half", [True, False])
@pytest.mark.parametrize("source", [float16, bfloat16])
def test_every_16_bit_number_widens(source: DType, has_half: bool) -> None:
    i = Axis("i", 1 << 16)
    cast = record("cast", lambda s, x, dtype: s.cast(x, dtype), (source,), {"dtype": float32})
    values = (Load(0, Index.of(i), (), source), Apply(cast, (0,)))
    slots = (Slot(source, 1 << 16), Slot(float32, 1 << 16))
    kernel = Kernel(slots, (i,), (), (), values, (Store(1, Index.of(i), 1),))
    x, results = np.arange(1 << 16, dtype=np.uint16).view(source.numpy), np.zeros(1 << 16, np.float32)
    target = host_target()
    compile_kernel(kernel, replace(target, has_half=has_half and target.has_half))([x, results])
    np.testing.assert_array_equal(results, x.astype(np.float32))


def test_inner_loops_do_not_spill() -> None:
    """A column sum in registers touches vectors in memory only to read the input and to store the result."""
    assembly = jit.emit_assembly(lower(column_sum(37, 64), AVX2, "k").ir, AVX2)
    assert not re.search(r"\(%rsp\).*%ymm|%ymm.*\(%rsp\)", assembly)


def test_compiled_runs_twice() -> None:
    """Partial results of one run do not leak into the next."""
    kernel = full_sum(300_000)
    compiled: Compiled = compile_kernel(kernel)
    assert len(compiled.native.tasks) > 1
    totals = set()
    for _ in range(2):
        arrays = random_arrays(kernel)
        compiled(arrays)
        totals.add(float(arrays[1][0]))
    assert len(totals) == 1


@pytest.mark.parametrize("to", [int8, uint8, int16, bfloat16, float16], ids=str)
def test_narrow_tails_end_where_they_end(to: DType) -> None:
    """LLVM 22 stores one lane of a truncated vector, masked by a constant, in its full width on AVX-512."""
    for size in range(33, 48):
        x, y = (graphs.source((size,), float32 if to.is_float else int32) for _ in range(2))
        kernel = kernel_of([x, y], ops.cast(ops.maximum(x, y), dtype=to))
        arrays = [np.full(size, v, x.dtype.numpy) for v in (3, 0x10101)] + [np.zeros(size + 16, to.numpy)]
        assert compile_kernel(kernel)(arrays) == 0
        assert np.flatnonzero(arrays[2]).tolist() == list(range(size))


@pytest.mark.parametrize("dtype", [float64, int64], ids=str)
@pytest.mark.parametrize("target", [AVX2, host_target()], ids=["AVX2", "host"])
def test_masks_of_tails_are_constants(dtype: DType, target: Target) -> None:
    """Before AVX-512, LLVM 22 reads all of a register of which neither bounds nor the tail want a lane."""
    i, j = Axis("i", 3), Axis("j", 12)
    at = Index.of(i) * 12 + Index.of(j)
    add = record("add", lambda s, a, b: s.cast(a, float32) + b, (dtype, float32))
    values = (Load(0, at - 12, (Bound(Index.of(i), 1, 3),), dtype), Load(1, at, (), float32), Apply(add, (0, 1)))
    slots = (Slot(dtype, 24), Slot(float32, 36), Slot(float32, 36))
    kernel = Kernel(slots, (i, j), (), (), values, (Store(2, at, 2),))
    ir = lower(kernel, target, "kernel").ir
    masks = set(re.findall(r"(%\w+) = and <\d+ x i1> [^\n]*i1 false", ir))
    loads = [line for line in ir.splitlines() if "call" in line and "masked.load" in line]
    assert target is not AVX2 or not any(f" {mask}," in line for mask in masks for line in loads)
    check(kernel, random_arrays(kernel), compile_kernel(kernel))


def test_rows_of_one_that_are_summed_up() -> None:
    i, r = Axis("i", 4), Axis("r", 1)
    at, zero = Index.of(i), (Const(0, float32),)
    add = record("add", lambda s, a, b: a + b, (float32, float32))
    same = record("same", lambda s, a: a, (float32,))
    values = (
        Load(0, at, (), float32),
        Reduce(add, zero, same, (0,), (r,)),
        Apply(add, (0, 1)),
        Reduce(add, zero, same, (2,), (r,)),
        Accumulate(add, zero, same, (3,), (i,)),
    )
    slots = (Slot(float32, 4), Slot(float32, 4), Slot(float32, 1))
    kernel = Kernel(slots, (i,), (r,), (), values, (Store(1, at, 3), Store(2, Index(), 4)))
    check(kernel, random_arrays(kernel), compile_kernel(kernel))
