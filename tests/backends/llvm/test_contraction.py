"""Contractions in native code mean what NumPy and the interpreter say, for every layout, cut and epilogue."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphc.backends.llvm import stages
from graphc.backends.llvm.lower import assemble
from graphc.backends.llvm.products import microkernel
from graphc.backends.llvm.products.blocking import Blocking, Tiling, block
from graphc.backends.llvm.products.contraction import lower_contraction
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import describe, host_target
from graphc.dataclass import replace
from graphc.index import Axis, Bound, Gathered, Index, flatten
from graphc.kernel import Dot, Inside, Kernel, Load, Position, Slot, Store
from graphc.types import DType, bfloat16, float16, float32, float64, int8, int32, int64
from graphc.value import Mapper
from tests.backends.llvm.native import Compiled, compile_kernel
from tests.backends.llvm.products import Product, adam, biased_gelu, matrices, random_arrays
from tests.kernel_interpreter import run_kernel

LAYOUTS = list(itertools.product((False, True), repeat=2))
EDGES = [
    (2, 2, 1),
    (2, 3, 4),
    (5, 9, 8),
    (6, 16, 7),
    (7, 17, 16),
    (13, 31, 70),
    (64, 8, 65),
    (37, 70, 3),
    (1, 5, 9),
    (9, 1, 33),
]


def plan(kernel: Kernel) -> Blocking:
    blocking = block(kernel, host_target())
    assert blocking is not None
    return blocking


def check(kernel: Kernel, compiled: Compiled | None = None, rounding: float = 1e-5, seed: int = 0) -> None:
    """Native code, in both orders of units, against the interpreter."""
    compiled = compiled or compile_kernel(kernel)
    arrays = random_arrays(kernel, seed)
    expected = [a.copy() for a in arrays]
    inside = run_kernel(kernel, expected)
    results = []
    for reverse in (False, True):
        actual = [a.copy() for a in arrays]
        assert (compiled(actual, reverse) == 0) == inside
        results.append(actual)
    for number, (first, second, wanted) in enumerate(zip(*results, expected, strict=True)):
        where = f"slot {number} of\n{kernel}\n{compiled.native.plans}"
        np.testing.assert_array_equal(first.view(np.uint8), second.view(np.uint8), err_msg=where)
        scale = float(np.abs(wanted.astype(np.float64)).max(initial=1.0))
        np.testing.assert_allclose(
            first.astype(np.float64), wanted.astype(np.float64), rounding, rounding * scale, err_msg=where
        )


def with_plan(kernel: Kernel, blocking: Blocking) -> Compiled:
    target = host_target()
    lowered = lower_contraction(kernel, blocking, target, "kernel")
    return Compiled(assemble([lowered], lowered.scratch), target)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", EDGES)
def test_all_layouts_and_edges(shape: tuple[int, int, int], layout: tuple[bool, bool]) -> None:
    product = Product(*shape, transposed=layout)
    kernel = product.kernel()
    check(kernel)
    arrays = random_arrays(kernel)
    a, b = matrices(product, arrays)
    compile_kernel(kernel)(arrays)
    np.testing.assert_allclose(arrays[2], (a @ b).ravel(), 1e-4, 1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", LAYOUTS)
def test_packed_or_in_place_and_cut_anyhow(packed: tuple[bool, bool], layout: tuple[bool, bool]) -> None:
    kernel = biased_gelu(Product(31, 45, 37, layout))
    plain = plan(kernel)
    rows = replace(plain.rows, packed=packed[0])
    columns = replace(plain.columns, packed=packed[1] or layout[1])
    for chunk, row_tiles, column_tiles in ((37, 6, 3), (37, 1, 1), (8, 4, 2), (1, 2, 3)):
        changed = replace(
            plain, rows=rows, columns=columns, chunk=chunk, row_tiles=row_tiles, column_tiles=column_tiles
        )
        check(kernel, with_plan(kernel, changed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_of_many_products_are_cut(layout: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks inside a tile, and in parts that a kernel of their own sums up."""
    monkeypatch.setattr(microkernel, "MOST_DEPTH", 8)
    monkeypatch.setattr(microkernel, "BLOCK_DEPTH", 5)
    check(biased_gelu(Product(13, 31, 70, layout)))
    monkeypatch.setattr(stages, "DOT_TERMS", 30)
    for k in (61, 120, 203):
        for kernel in (biased_gelu(Product(7, 9, k, layout)), Product(5, 6, k, layout, batch=3).kernel()):
            compiled = compile_kernel(kernel)
            assert len(compiled.native.tasks) > 1
            check(kernel, compiled)
    check(adam(Product(7, 9, 203, layout)))
    check(Product(7, 9, 203, layout, dtype=int32).kernel())


@pytest.mark.parametrize("seed", range(12))
def test_random_shapes(seed: int) -> None:
    random = np.random.default_rng(seed)
    m, n, k = (int(x) for x in random.integers(1, 70, 3))
    layout = bool(random.integers(2)), bool(random.integers(2))
    product = Product(m, n, k, layout, batch=int(random.integers(0, 4)))
    check((adam if seed % 2 else biased_gelu)(product) if not product.batch else product.kernel())


@pytest.mark.parametrize("dtype", [float64, float16, bfloat16, int8, int32, int64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dtypes(dtype: DType, layout: tuple[bool, bool]) -> None:
    rounding = {float64: 1e-14, float16: 1e-3, bfloat16: 1e-2}.get(dtype, 0)
    check(Product(19, 21, 18, layout, dtype=dtype).kernel(), rounding=rounding)


def test_an_update_in_place_reads_each_old_value_once() -> None:
    check(adam(Product(33, 70, 20, (True, False))))


def test_a_result_that_lies_transposed_swaps_the_operands() -> None:
    product = Product(40, 24, 16)
    product.store(2, flatten((product.j, product.i), (24, 40)), product.dot)
    kernel = product.kernel()
    assert plan(kernel).columns.value == 0
    check(kernel)


def test_several_axes_on_each_side() -> None:
    """Attention's scores: q[t, h, d] · k[s, h, d] → scores[h, t, s], then weighted values with two contracted axes."""
    t, s, h, d = Axis("t", 11), Axis("s", 19), Axis("h", 3), Axis("d", 8)
    it, is_, ih, id_ = (Index.of(a) for a in (t, s, h, d))
    slots = (Slot(float32, 11 * 24), Slot(float32, 19 * 24), Slot(float32, 3 * 11 * 19))
    q = Load(0, flatten((it, ih, id_), (11, 3, 8)), (), float32)
    k = Load(1, flatten((is_, ih, id_), (19, 3, 8)), (), float32)
    scores = Store(2, flatten((ih, it, is_), (3, 11, 19)), 2)
    check(Kernel(slots, (h, t, s), (), (d,), (q, k, Dot((0, 1), (d,), float32)), (scores,)))
    both = Store(2, flatten((it, is_), (11, 19)), 2)
    check(Kernel(slots, (t, s), (), (h, d), (q, k, Dot((0, 1), (h, d), float32)), (both,)))
    # Two axes of rows: [h, t, d] · [s, d] with the heads outside.
    shared = Load(1, flatten((is_, id_), (19, 8)), (), float32)
    check(Kernel(slots, (h, t, s), (), (d,), (q, shared, Dot((0, 1), (d,), float32)), (scores,)))


def test_a_convolution_is_a_contraction_over_guarded_loads() -> None:
    """y[x, o] = sum over tap and c of image[x + tap − 1, c] · weight[tap, c, o], zeros around."""
    x, o, tap, c = Axis("x", 23), Axis("o", 10), Axis("t", 3), Axis("c", 5)
    ix, io, it, ic = (Index.of(a) for a in (x, o, tap, c))
    at = ix + it - 1
    image = Load(0, flatten((at, ic), (23, 5)), (Bound(at, 0, 23),), float32)
    weight = Load(1, flatten((it, ic, io), (3, 5, 10)), (), float32)
    slots = (Slot(float32, 23 * 5), Slot(float32, 150), Slot(float32, 230))
    stores = (Store(2, flatten((ix, io), (23, 10)), 2),)
    kernel = Kernel(slots, (x, o), (), (tap, c), (image, weight, Dot((0, 1), (tap, c), float32)), stores)
    check(kernel)


@pytest.mark.parametrize("size, outside", [(20, False), (12, True)])
def test_gathered_rows_are_checked(size: int, outside: bool) -> None:
    """table[index[i]] @ w, packed through a checked gather."""
    i, j, k = Axis("i", 40), Axis("j", 18), Axis("k", 9)
    ii, ij, ik = (Index.of(a) for a in (i, j, k))
    row = Index(((Gathered(0, size, frozenset((i,))), 1),))
    slots = (Slot(int64, 40), Slot(float32, 20 * 9), Slot(float32, 9 * 18), Slot(float32, 40 * 18))
    values = (
        Load(0, ii, (), int64),
        Load(1, row * 9 + ik, (), float32),
        Load(2, ik * 18 + ij, (), float32),
        Dot((1, 2), (k,), float32),
    )
    kernel = Kernel(slots, (i, j), (), (k,), values, (Store(3, ii * 18 + ij, 3),))
    arrays = random_arrays(kernel)
    arrays[0][:] = np.arange(40) % 20
    expected = [a.copy() for a in arrays]
    assert run_kernel(kernel, expected) is not outside
    assert (compile_kernel(kernel)(arrays) != 0) is outside
    np.testing.assert_allclose(arrays[3], expected[3], 1e-5, 1e-5)


def test_operands_are_any_value_and_epilogues_know_where_they_are() -> None:
    """relu(a) @ b on and below the diagonal, the row's number elsewhere; a second result as int32 by rows alone."""
    product = Product(21, 27, 15)
    relu = product.apply(_relu, 0)
    dot = product.add(Dot((relu, 1), (product.contracted,), float32))
    below = product.add(Inside((Bound(product.i - product.j, 0, 30),)))
    row = product.apply(_to_float, product.add(Position(product.i)))
    product.store(2, product.place, product.apply(_select, below, dot, row))
    product.store(product.slot(21, int32), product.i, product.apply(_to_int, row))
    del product.values[product.dot]
    to = Mapper({n: n - (n > product.dot) for n in range(len(product.values) + 1)})
    values, stores = map(to.value, product.values), map(to.store, product.stores)
    kernel = Kernel(
        tuple(product.slots), product.axes, (), (product.contracted,), tuple(values), tuple(stores)
    )
    assert plan(kernel).rows.packed
    check(kernel)


def _relu(s, x):
    return s.max(x, 0.0)


def _to_float(s, x):
    return s.cast(x, float32)


def _to_int(s, x):
    return s.cast(x, int32)


def _select(s, mask, a, b):
    return s.select(mask, a, b)


def test_a_weight_is_packed_by_a_task_that_can_be_prepared() -> None:
    native = compile_kernel(Product(300, 200, 100, (False, True)).kernel()).native
    pack, product = native.tasks[0], native.tasks[-1]
    assert pack.prepares and pack.slots[0] == 1 and pack.slots[1] == 3
    assert not product.prepares and 3 in product.slots


def test_results_do_not_depend_on_how_units_are_handed_out() -> None:
    kernel = biased_gelu(Product(130, 130, 600))
    compiled = compile_kernel(kernel)
    product = compiled.native.tasks[-1]
    assert product.units > 4
    results = []
    for grain in (1, 3, product.units):
        changed = replace(compiled.native, tasks=(*compiled.native.tasks[:-1], replace(product, grain=grain)))
        compiled.native = changed
        arrays = random_arrays(kernel)
        compiled(arrays)
        results.append(arrays[2])
    assert all((r == results[0]).all() for r in results)


@pytest.mark.parametrize("size", [1, 5, 6, 7, 11, 13, 16, 128, 1024])
def test_even_cuts_differ_by_one(size: int) -> None:
    cut = Tiling.evenly(size, 6)
    assert sum(n * length for n, length in cut.parts) == size
    assert max(cut.lengths) <= 6 and max(cut.lengths) - min(cut.lengths) <= 1


@pytest.mark.parametrize("size, parts", [(3, ((1, 3),)), (16, ((1, 16),)), (40, ((2, 16), (1, 8)))])
def test_cuts_with_a_rest(size: int, parts: tuple[tuple[int, int], ...]) -> None:
    assert Tiling.with_rest(size, 16).parts == parts


@pytest.mark.parametrize("shape", [(40, 4096, 1024), (600, 9000, 20_000), (3, 100_000, 5000)])
@pytest.mark.parametrize("batch", [0, 500])
def test_tile_memory_fits_a_stack(shape: tuple[int, int, int], batch: int) -> None:
    blocking = plan(Product(*shape, batch=batch).kernel())
    assert blocking.sums_size * blocking.dtype.itemsize <= host_target().l2 // 4
    assert blocking.rows.cut.first * blocking.chunk * blocking.dtype.itemsize <= host_target().l2 // 2


FOREIGN = {
    "avx512": (
        "x86_64-unknown-linux-gnu",
        "skylake-avx512",
        "+avx512f,+avx512vl,+avx2,+avx,+fma,-prefer-256-bit",
    ),
    "sse2": ("x86_64-unknown-linux-gnu", "x86-64", "+sse2"),
    "aarch64": ("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon"),
}


@pytest.mark.parametrize("machine", FOREIGN)
def test_other_machines_get_valid_code_without_spills_in_the_tile(machine: str) -> None:
    target = describe(*FOREIGN[machine])
    kernel = adam(Product(65, 77, 130, (True, True)))
    blocking = block(kernel, target)
    assert blocking is not None
    lowered = lower_contraction(kernel, blocking, target, "kernel")
    assert jit.emit_assembly(assemble([lowered], lowered.scratch).ir, target)
    rows, columns = blocking.rows.cut.first, blocking.columns.cut.first
    tiles = next(tiles for tiles in lowered.shared if f"_{rows}x{columns}(" in tiles.ir)
    tile = jit.emit_assembly(tiles.ir, target).split(f"{tiles.name}_{rows}x{columns}:")[1].split(".Lfunc_end")[0]
    stack = "(%rsp)" if target.is_x86 else "[sp"
    assert not [line for line in tile.splitlines() if stack in line and ("mm" in line or "\tq" in line)]
