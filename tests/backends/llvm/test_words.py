"""Products of narrow numbers, of which instructions take several k at a time where the machine has them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphc.backends.llvm.lower import assemble
from graphc.backends.llvm.products.blocking import block
from graphc.backends.llvm.products.contraction import lower_contraction
from graphc.backends.llvm.products.words import words_for
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import Target, describe, host_target
from graphc.dataclass import replace
from graphc.index import Axis, Bound, Index, flatten
from graphc.kernel import Apply, Dot, Kernel, Load, Slot, Store
from graphc.scalar import record
from graphc.types import DType, bfloat16, float16, float32, int8, int32, uint8
from tests.backends.llvm.native import Compiled, compile_kernel
from tests.backends.llvm.products import Product, random_arrays
from tests.kernel_interpreter import run_kernel

LAYOUTS = list(itertools.product((False, True), repeat=2))
NARROW = [  # rows, columns, sums
    (bfloat16, bfloat16, float32), (float16, float16, float32), (int8, int8, int32), (uint8, uint8, int32),
    (uint8, int8, int32), (int8, uint8, int32),
]  # fmt: skip
SERVER = describe(
    "x86_64-unknown-linux-gnu", "znver4",
    "+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+avx,+fma,+f16c,+avx512bf16,+avx512vnni,-prefer-256-bit",
)  # fmt: skip
MATRICES = describe(
    "x86_64-unknown-linux-gnu", "sapphirerapids",
    "+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+avx,+fma,+f16c,+avx512bf16,+avx512vnni,+amx-tile,+amx-bf16,"
    "+amx-int8,-prefer-256-bit",
)  # fmt: skip
VECTORS = replace(host_target(), has_bfloat16_tiles=False, has_integer_tiles=False)
HERE = [host_target()] + [VECTORS] * host_target().has_bfloat16_tiles  # ways of this machine
CLIENT = describe("x86_64-unknown-linux-gnu", "alderlake", "+avx2,+avx,+fma,+f16c,+avxvnni")


def check(kernel: Kernel, compiled: Compiled | None = None, rounding: float = 1e-5) -> None:
    """Native code against the interpreter; integers to the last bit."""
    arrays = random_arrays(kernel)
    expected = [a.copy() for a in arrays]
    run_kernel(kernel, expected)
    (compiled or compile_kernel(kernel))(arrays)
    exact = kernel.slots[2].dtype.is_integer
    for got, wanted in zip(arrays, expected, strict=True):
        if exact:
            np.testing.assert_array_equal(got, wanted)
        else:
            np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rounding, 10 * rounding)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", NARROW, ids=lambda d: "-".join(map(str, d)))
def test_all_layouts_and_lengths(dtypes: tuple[DType, DType, DType], layout: tuple[bool, bool]) -> None:
    left, right, sums = dtypes
    shapes = ((19, 37, 18), (7, 33, 64), (13, 16, 61), (70, 21, 1), (5, 3, 7), (1, 9, 40), (9, 1, 40), (45, 70, 300))
    for target in HERE:
        for shape in shapes:
            kernel = Product(*shape, layout, dtype=left, right=right, sums=sums).kernel()
            check(kernel, compile_kernel(kernel, target))
        kernel = Product(9, 21, 35, layout, batch=3, dtype=left, right=right, sums=sums).kernel()
        check(kernel, compile_kernel(kernel, target))


@pytest.mark.parametrize("dtypes", NARROW, ids=lambda d: "-".join(map(str, d)))
def test_packed_or_in_place_and_cut_anyhow(dtypes: tuple[DType, DType, DType]) -> None:
    left, right, sums = dtypes
    kernel = Product(31, 45, 72, (False, True), dtype=left, right=right, sums=sums).kernel()
    plain = block(kernel, VECTORS)
    assert plain is not None
    for packed in (False, True):
        if not packed and plain.rows.strides is None:
            continue
        rows = replace(plain.rows, packed=packed)
        for chunk, row_tiles, column_tiles in ((plain.depth, 6, 3), (7, 4, 2), (1, 2, 3)):
            changed = replace(plain, rows=rows, chunk=chunk, row_tiles=row_tiles, column_tiles=column_tiles)
            lowered = lower_contraction(kernel, changed, VECTORS, "kernel")
            check(kernel, Compiled(assemble([lowered], lowered.scratch), VECTORS))


@pytest.mark.skipif(not host_target().has_bfloat16_tiles, reason="this machine multiplies no matrices")
@pytest.mark.parametrize("dtypes", [NARROW[0], *NARROW[2:]], ids=lambda d: "-".join(map(str, d)))
def test_matrices_cut_anyhow(dtypes: tuple[DType, DType, DType]) -> None:
    left, right, sums = dtypes
    kernel = Product(100, 90, 250, (False, True), dtype=left, right=right, sums=sums).kernel()
    plain = block(kernel, host_target())
    assert plain is not None and plain.words is not None and plain.words.tiles
    assert plain.depth % 16 == 0 and plain.depth * plain.word >= 250
    for chunk, row_tiles, column_tiles in ((plain.depth, 6, 3), (16, 4, 2), (48, 2, 3)):
        changed = replace(plain, chunk=chunk, row_tiles=row_tiles, column_tiles=column_tiles)
        lowered = lower_contraction(kernel, changed, host_target(), "kernel")
        check(kernel, Compiled(assemble([lowered], lowered.scratch), host_target()))


@pytest.mark.parametrize("transposed", [False, True])
def test_rows_that_are_converted_on_the_way(transposed: bool) -> None:
    """float32 that a cast before the product makes bfloat16, along the rows and across them; over two axes of k."""
    i, j, k, l = Axis("i", 21), Axis("j", 40), Axis("k", 3), Axis("l", 32)
    ii, ij, ik, il = (Index.of(a) for a in (i, j, k, l))
    cast = record("cast", lambda s, x, dtype: s.cast(x, dtype), (float32,), {"dtype": bfloat16})
    at = flatten((ik, il, ii), (3, 32, 21)) if transposed else flatten((ii, ik, il), (21, 3, 32))
    values = (
        Load(0, at, (), float32), Apply(cast, (0,)), Load(1, flatten((ik, il, ij), (3, 32, 40)), (), bfloat16),
        Dot((1, 2), (k, l), float32),
    )  # fmt: skip
    slots = (Slot(float32, 21 * 96), Slot(bfloat16, 96 * 40), Slot(float32, 21 * 40))
    kernel = Kernel(slots, (i, j), (), (k, l), values, (Store(2, ii * 40 + ij, 3),))
    for target in HERE:
        check(kernel, compile_kernel(kernel, target))


def test_extremes_do_not_saturate() -> None:
    """Sums of the largest products: −128 · −128, 255 · −128 and 255 · 255, as often as there are k."""
    for left, right, a, b in ((int8, int8, -128, -128), (uint8, int8, 255, -128), (uint8, uint8, 255, 255)):
        kernel = Product(6, 32, 1000, dtype=left, right=right, sums=int32).kernel()
        arrays = [np.full(s.size, v, s.dtype.numpy) for s, v in zip(kernel.slots, (a, b, 0), strict=True)]
        compile_kernel(kernel)(arrays)
        assert (arrays[2] == 1000 * a * b).all()


@pytest.mark.parametrize("channels", [3, 4, 8])
def test_several_contracted_axes_and_guards(channels: int) -> None:
    """A convolution along a line: words hold channels, and whole k where channels are no multiple of them."""
    x, o, tap, c = Axis("x", 23), Axis("o", 20), Axis("t", 3), Axis("c", channels)
    ix, io, it, ic = (Index.of(a) for a in (x, o, tap, c))
    at = ix + it - 1
    for left, right, sums in NARROW:
        image = Load(0, flatten((at, ic), (23, channels)), (Bound(at, 0, 23),), left)
        weight = Load(1, flatten((it, ic, io), (3, channels, 20)), (), right)
        slots = (Slot(left, 23 * channels), Slot(right, 60 * channels), Slot(sums, 460))
        stores = (Store(2, flatten((ix, io), (23, 20)), 2),)
        check(Kernel(slots, (x, o), (), (tap, c), (image, weight, Dot((0, 1), (tap, c), sums)), stores))


def test_rows_that_start_between_words_are_read_in_place() -> None:
    """a[:, 1:] of rows of odd places: addresses are as aligned as elements, not as words."""
    i, j, k = Axis("i", 12), Axis("j", 32), Axis("k", 16)
    ii, ij, ik = (Index.of(a) for a in (i, j, k))
    rows = Load(0, ii * 18 + ik + 1, (), bfloat16)
    slots = (Slot(bfloat16, 12 * 18), Slot(bfloat16, 16 * 32), Slot(float32, 12 * 32))
    values = (rows, Load(1, ik * 32 + ij, (), bfloat16), Dot((0, 1), (k,), float32))
    check(Kernel(slots, (i, j), (), (k,), values, (Store(2, ii * 32 + ij, 2),)))


@pytest.mark.parametrize(
    ("target", "dtypes", "instruction"),
    [
        (MATRICES, (bfloat16, bfloat16, float32), "tdpbf16ps"), (MATRICES, (int8, int8, int32), "tdpbssd"),
        (MATRICES, (uint8, int8, int32), "tdpbusd"), (MATRICES, (int8, uint8, int32), "tdpbsud"),
        (SERVER, (bfloat16, bfloat16, float32), "vdpbf16ps"), (SERVER, (uint8, int8, int32), "vpdpbusd"),
        (SERVER, (int8, int8, int32), "vpdpwssd"), (CLIENT, (uint8, int8, int32), "vpdpbusd"),
        (CLIENT, (int8, int8, int32), "vpdpwssd"),
    ],
)  # fmt: skip
def test_the_tile_is_made_of_that_instruction(
    target: Target, dtypes: tuple[DType, DType, DType], instruction: str
) -> None:
    """One for each row and vector of columns, and no register goes to the stack."""
    left, right, sums = dtypes
    kernel = Product(60, 128, 256, dtype=left, right=right, sums=sums).kernel()
    blocking = block(kernel, target)
    assert blocking is not None and blocking.words is not None
    lowered = lower_contraction(kernel, blocking, target, "kernel")
    size = f"{blocking.rows.cut.first}x{blocking.columns.cut.first}"
    tiles = next(tiles for tiles in lowered.shared if f"_{size}(" in tiles.ir)
    tile = jit.emit_assembly(tiles.ir, target).split(f"_{size}:")[1].split(".Lfunc_end")[0].splitlines()
    rows = blocking.tile.rows // 16 if blocking.words.tiles else blocking.tile.rows
    assert sum(instruction in line for line in tile) == rows * blocking.tile.vectors
    assert not [line for line in tile if "(%rsp)" in line and "mm" in line]


def test_machines_without_the_instructions_go_by_single_elements() -> None:
    plain = describe("x86_64-unknown-linux-gnu", "skylake-avx512", "+avx512f,+avx2,+avx,+fma")
    arm = describe("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon")
    for rows, columns, sums in NARROW:
        assert not [*words_for(plain, rows, columns, sums), *words_for(arm, rows, columns, sums)]
    intel = describe("x86_64-unknown-linux-gnu", "sapphirerapids", "+avx512f,+avx512bf16,+avx512vnni")
    assert not list(words_for(CLIENT, bfloat16, bfloat16, float32))  # has no such instruction
    assert not list(words_for(intel, bfloat16, bfloat16, float32))  # a slow one
    assert list(words_for(intel, uint8, int8, int32))
    assert not list(words_for(SERVER, float16, float16, float32))
    assert not list(words_for(MATRICES, int8, int8, int8))  # would wrap after eight bits


def test_few_along_k_take_no_matrices() -> None:
    """What would be mostly zeros, or could not be cut into whole words and blocks, goes another way."""
    def words(k: int) -> bool:
        planned = block(Product(64, 64, k, dtype=bfloat16, sums=float32).kernel(), MATRICES)
        return planned is not None and planned.words is not None and planned.words.tiles

    assert [k for k in (4, 15, 16, 17, 500) if words(k)] == [16, 17, 500]
