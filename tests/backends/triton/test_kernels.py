"""Hand-built kernels in Triton's interpreter against their meaning in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc import ops
from graphc.backends.kernels import long_sums
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import run_kernel_interpreted
from graphc.backends.triton.plan import Blocks
from graphc.backends.triton.source import kernel_source
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.passes.fuse import fuse
from graphc.types import bool_, float16
from tests import graphs
from tests.build_kernels import random_array
from tests.kernel_interpreter import run_kernel

from . import kernels
from .on_device import run_source


def compare(kernel: Kernel, interpreter: Interpreter, plan: Blocks | None = None) -> None:
    check(kernel, lambda arrays: run_kernel_interpreted(kernel, arrays, interpreter, plan))


def check(kernel: Kernel, run: Callable[[list[np.ndarray]], bool]) -> None:
    rng = np.random.default_rng(0)
    arrays = [random_array(slot, rng) for slot in kernel.slots]
    expected = [a.copy() for a in arrays]
    assert run_kernel(kernel, expected) == run(arrays)
    for slot, got, want in zip(kernel.slots, arrays, expected, strict=True):
        if not slot.dtype.is_float:
            np.testing.assert_array_equal(got, want, str(slot.name))
            continue
        tolerance = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1e-2}[slot.dtype.name]
        scale = float(np.abs(want.astype(np.float64)).max(initial=0)) + 1e-30
        error = np.abs(got.astype(np.float64) - want.astype(np.float64)).max(initial=0) / scale
        assert error <= tolerance, f"{slot.name} is off by {error}"


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_kernel_computes_what_it_means(name: str, interpreter: Interpreter) -> None:
    compare(kernels.KERNELS[name](), interpreter)


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("softmax", Blocks(4, 32)), ("layer_norm", Blocks(4, 32)), ("layer_norm_gradient", Blocks(8, 32)),
        ("column_sum_accumulated", Blocks(16, 32)), ("argmax", Blocks(4, 16)), ("log_sum_exp", Blocks(2, 16)),
        ("any_and_all", Blocks(2, 16)), ("sum_of_constant", Blocks(2, 16)), ("sum_over_two_axes", Blocks(2, 32)),
        ("sums_over_different_axes", Blocks(8, 16)), ("transposed_sum", Blocks(1, 256)),
        ("pad_and_concat", Blocks(1, 256)),
        ("linear_gelu", Blocks(16, 16, 16)), ("product_with_sums", Blocks(16, 16, 16)),
        ("convolution", Blocks(16, 16, 16)),
        ("scatter_rows", Blocks(1, 8)), ("row_sums_with_update", Blocks(2, 8)),
    ],
)  # fmt: skip
def test_small_tiles_compute_the_same(name: str, plan: Blocks, interpreter: Interpreter) -> None:
    """Tiles that leave tails, and rows longer than a tile."""
    compare(kernels.KERNELS[name](), interpreter, plan)


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("sum_of_all", Blocks(1, 64, parts=7)), ("column_sum_of_rows", Blocks(32, 16, parts=3)),
        ("argmax", Blocks(4, 16, parts=2)), ("log_sum_exp", Blocks(2, 16, parts=3)),
        ("any_and_all", Blocks(4, 16, parts=2)),
        ("sum_of_constant", Blocks(2, 16, parts=2)), ("sum_over_two_axes_only", Blocks(2, 32, parts=3)),
        ("linear_gelu", Blocks(16, 16, 16, parts=3)), ("batched_product", Blocks(16, 32, 16, parts=2)),
        ("product_with_sums", Blocks(16, 16, 16, parts=2)), ("weight_update", Blocks(32, 32, 16, parts=2)),
        ("convolution", Blocks(32, 32, 16, parts=2)), ("gather_one", Blocks(1, 4, parts=2)),
    ],
)  # fmt: skip
def test_parts_join_to_the_same(name: str, plan: Blocks, interpreter: Interpreter) -> None:
    """Long reductions cut into parts for several programs, and joined by a second kernel."""
    kernel = kernels.KERNELS[name]()
    assert len(kernel_source(kernel, plan).launches) >= 2
    compare(kernel, interpreter, plan)


def _running() -> dict[str, Graph]:
    """Cumulative values of one state and of two, of bools, and of a row with a reduction behind it."""
    x, mask = graphs.source((9, 45)), graphs.source((9, 45), bool_)
    made = {name: graphs.samples()[name] for name in ("running share", "recurrence from the end")}
    made["bools"] = graphs.graph([mask], [ops.cumulative_min(mask, axis=1)])
    return made | {"logcumsumexp": graphs.graph([x], [ops.logcumsumexp(x, axis=1)])}


@pytest.mark.parametrize("name", _running())
def test_rows_in_order_longer_than_a_tile(name: str, interpreter: Interpreter) -> None:
    (fused,) = fuse(_running()[name])
    compare(fused.kernel, interpreter, Blocks(4, 16))


@pytest.mark.parametrize("kernel", [kernels.total(1 << 22), kernels.linear_gelu(16, 1 << 16, 16, float16)])
def test_long_reductions_of_few_points_are_cut(kernel: Kernel) -> None:
    first, second = kernel_source(kernel).launches
    assert first.programs >= 64


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("softmax", Blocks(4, 8)), ("layer_norm", Blocks(4, 8)),
        ("log_sum_exp", Blocks(2, 8)), ("argmax", Blocks(4, 8)),
        ("sum_over_two_axes", Blocks(2, 8)), ("sum_of_all", Blocks(1, 16, parts=3)),
        ("column_sum_of_rows", Blocks(32, 2)),
    ],
)  # fmt: skip
def test_sums_in_blocks_of_blocks_are_the_same(
    name: str, plan: Blocks, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_sums, "MOST", 3)
    monkeypatch.setattr(long_sums, "BLOCK", 2)
    kernel = kernels.KERNELS[name]()
    assert ("in range(block" in kernel_source(kernel, plan).text) == (name != "argmax")
    compare(kernel, interpreter, plan)


def test_long_sums_keep_their_digits(interpreter: Interpreter) -> None:
    x, y = np.full(20_003, 0.1, np.float32), np.zeros(1, np.float32)
    assert run_kernel_interpreted(kernels.total(x.size), [x, y], interpreter, Blocks(1, 16))
    assert abs(y[0] - x.astype(np.float64).sum()) <= 8 * np.spacing(y[0])


def test_products_of_very_many_terms_are_cut() -> None:
    launches = kernel_source(kernels.linear_gelu(2048, 1 << 17, 2048, float16)).launches
    assert len(launches) == 2 and launches[0].programs == 8 * 16 * 16


@pytest.mark.gpu
def test_all_kernels_on_a_gpu() -> None:
    from graphc.backends.triton.cuda import first_device

    for make in kernels.KERNELS.values():
        kernel = make()
        check(kernel, lambda a, k=kernel: run_source(kernel_source(k), a, first_device()))  # type: ignore[misc]
