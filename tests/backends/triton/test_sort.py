"""Sorting in Triton: blocks, runs that are merged, and the few wanted of many; what the compiler makes of it."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.backends.triton.calls import work_source
from graphc.backends.triton.compile import compile_source
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import interpreted_program, run_source_interpreted
from graphc.backends.triton.listing import triton_listing
from graphc.backends.triton.sort import sort_source
from graphc.errors import UnsupportedError
from graphc.sort import Sort
from graphc.types import DType, bfloat16, bool_, float32, float64, int8, int64, uint8, uint16
from tests.contract.values import ordinary, special

from .on_device import run_source

# dtype, rows, size, count, how many launches blocks of 16 take, and which results are wanted
SHAPES = [
    (float32, 5, 16, 16, 1, "both"), (int8, 20, 3, 2, 1, "both"), (float64, 1, 1, 1, 1, "both"),
    (float64, 2, 33, 33, 3, "both"), (float32, 1, 100, 100, 4, "values"), (int8, 1, 100, 99, 4, "indices"),
    (float32, 1, 90, 9, 4, "both"), (float64, 1, 90, 8, 4, "both"), (bool_, 2, 90, 5, 3, "both"),
    (int8, 2, 90, 1, 2, "values"), (bool_, 2, 17, 17, 2, "indices"),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "rows", "size", "count", "launches", "wanted"), SHAPES)
def test_rows_longer_than_a_block(
    dtype: DType, rows: int, size: int, count: int, launches: int, wanted: str, interpreter: Interpreter
) -> None:
    edges = special(dtype)
    x = np.concatenate([ordinary(dtype, (rows * size,)), edges, edges])[-rows * size :]
    x = np.random.default_rng(size).permutation(x)
    for descending in (False, True):
        call = Sort(dtype, rows, size, count, descending, wanted != "indices", wanted != "values")
        source = sort_source(call, block=16)
        assert len(source.launches) == launches
        want = [x, *(np.zeros(s.size, s.dtype.numpy) for s in call.slots[1:])]
        got = [a.copy() for a in want]
        call.run(want)
        run_source_interpreted(source, got, interpreter)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8), str(call))


@pytest.mark.parametrize(
    ("call", "launches"),
    [
        (Sort(float32, 1, 1_000_000, 1_000_000, False, True, False), 10),
        (Sort(float64, 3, 5000, 5000, True, True, True), 3),
        (Sort(float32, 512, 5000, 10, True, True, True), 2),
        (Sort(uint16, 4096, 100, 100, False, False, True), 1),
        (Sort(int8, 1 << 12, 1 << 20, 3, False, True, True), 2),  # positions beyond 32 bits
    ],
    ids=str,
)  # fmt: skip
def test_it_compiles_in_little_time_and_without_spills(call: Sort, launches: int) -> None:
    source = work_source(call)
    assert len(source.launches) == launches
    for artifact in compile_source(source):
        assert artifact.resources.stack == 0 and artifact.resources.registers <= 128
        # The network's loops are loops: its two exchanges a step are there once, and not 66 times.
        assert artifact.ptx.count("st.shared") < 150


def test_positions_beyond_32_bits_are_computed_in_64() -> None:
    assert ".to(tl.int64)\n    lane" in work_source(Sort(float32, 1 << 12, 1 << 20, 3, False, True, True)).text
    assert ".to(tl.int64)\n    lane" not in work_source(Sort(float32, 1 << 9, 1 << 20, 3, False, True, True)).text


def test_nothing_wanted_is_nothing_done() -> None:
    assert not work_source(Sort(float32, 3, 5, 0, True, True, True)).launches
    assert not work_source(Sort(int64, 0, 5, 5, True, True, True)).launches


def test_rows_beyond_its_places_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="less than 2\\^31"):
        work_source(Sort(int8, 1, 1 << 31, 1, False, True, False))


def test_sorting_and_searching_in_one_program(interpreter: Interpreter) -> None:
    def f(table: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, ...]:
        table = gx.sort(table)
        found = gx.searchsorted(table, x, side="right")
        return table, found, gx.argsort(x, descending=True), gx.top_k(gx.astype(found, "int32"), 2)[0]

    rng = np.random.default_rng(0)
    table, x = rng.integers(0, 30, 40).astype(np.float32), rng.integers(0, 30, 9).astype(np.float32)
    plan = gx.compile(f).schedule(table, x)
    got = interpreted_program(plan, interpreter).bind([])([table, x])
    place = np.searchsorted(np.sort(table), x, "right")
    want = np.sort(table), place, np.argsort(-x, kind="stable"), np.sort(place)[::-1][:2]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert triton_listing(plan).count("in_order(key, place, 1,") == 3


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [bool_, uint8, int64, bfloat16, float32, float64], ids=str)
def test_on_a_gpu(dtype: DType) -> None:
    """Short rows, rows of several blocks, and the few that are wanted of many; ties, NaN and both zeros among them."""
    from graphc.backends.triton.cuda import first_device

    sizes = [(1, 1, 1), (300, 7, 7), (5, 2048, 2048), (3, 2049, 2049), (2, 50_000, 50_000), (2, 50_000, 3000),
             (4, 50_000, 10)]  # fmt: skip
    for number, (rows, size, count) in enumerate(sizes):
        edges = special(dtype)
        x = np.concatenate([ordinary(dtype, (rows * size,)), edges, edges])[-rows * size :]
        x = np.random.default_rng(size).permutation(x)
        call = Sort(dtype, rows, size, count, bool(number % 2), True, True)
        want = [x, *(np.zeros(s.size, s.dtype.numpy) for s in call.slots[1:])]
        got = [a.copy() for a in want]
        call.run(want)
        run_source(work_source(call), got, first_device())
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8), str(call))
