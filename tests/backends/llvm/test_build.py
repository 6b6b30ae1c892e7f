"""From schedules to tables of tasks: who waits for whom, and what is worth a second thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.backends.llvm.backend import LLVMProgram
from graphc.backends.llvm.link.tables import BuiltProgram
from graphc.backends.llvm.native import RowKind, TaskSpec
from graphc.driver.compilation import Compilation
from graphc.schedule import Space
from graphc.settings import Settings

RNG = np.random.default_rng(0)


def built(function: Any, *args: Any) -> BuiltProgram:
    program = gx.compile(function, backend="llvm").specialize(*args).compilation.built
    assert isinstance(program, LLVMProgram)
    return program.built


def mlp(size: int, between: Any = nn.relu) -> Any:
    weights = [gx.Variable(RNG.standard_normal((size, size)).astype("f4")) for _ in range(4)]

    def forward(x: Any) -> Any:
        for w in weights:
            x = between(x @ w)
        return x

    return forward


@pytest.mark.parametrize(
    ("function", "spec", "sequential"),
    [
        (lambda x: x + 1, gx.spec((100,)), True),
        (mlp(32), gx.spec((32, 32)), True),
        (mlp(96, lambda x: nn.softmax(x, axis=0)), gx.spec((64, 96)), True),  # as much between the products as in them
        (mlp(256), gx.spec((256, 256)), False),
        (mlp(256, nn.softmax), gx.spec((256, 256)), False),
        (lambda x: gx.exp(x), gx.spec((1000, 1000)), False),
    ],
    ids=["tiny", "small products", "mostly small tasks", "products", "products and rows", "a large loop"],
)
def test_what_is_shared(function: Any, spec: gx.Spec, sequential: bool) -> None:
    assert built(function, spec).native.main.is_sequential is sequential


def test_a_small_program_with_much_to_prepare_wakes_nobody_when_called() -> None:
    w = gx.Variable(RNG.standard_normal((2000, 600)).astype("f4"))
    native = built(lambda x: x + gx.sum(gx.exp(w), axis=0), gx.spec((600,))).native
    assert native.main.is_sequential and not native.prepare.is_sequential


def packs(tasks: Sequence[TaskSpec]) -> int:
    return sum("pack" in task.symbol for task in tasks)


def test_a_scan_finds_its_weight_packed() -> None:
    """Once for all calls where it is a Variable that no call changes, else once a call."""
    w = gx.Variable(RNG.standard_normal((256, 256)).astype("f4"))

    def scan(h: Any, x: Any, w: Any) -> Any:
        return gx.scan(lambda h, x: (gx.tanh(h @ w + x), None), h, x)[0]

    specs = gx.spec((64, 256)), gx.spec((5, 64, 256))
    native = built(lambda h, x: scan(h, x, w), *specs).native
    assert packs(native.prepare.tasks) == 1 and not packs(native.main.tasks)
    native = built(scan, *specs, gx.spec((256, 256))).native
    loop, start, run, *rest = native.main.rows
    assert (loop.kind, start.kind, run.kind) == (RowKind.LOOP, RowKind.BLOCK, RowKind.RUN)
    assert packs(native.main.tasks[run.task : run.task + run.count]) == packs(native.main.tasks) == 1
    assert not native.prepare.tasks


def test_iterations_of_large_kernels_are_shared_and_those_of_small_ones_are_not() -> None:
    def scan(x: Any) -> Any:
        return gx.scan(lambda h, _: (gx.tanh(h @ x), None), x, length=3)[0]

    small, large = (built(scan, gx.spec((n, n))).native.main for n in (8, 256))
    assert small.is_sequential and not any(run.alone for run in large.runs)


def test_variables_wait_for_indices() -> None:
    """A task that writes a Variable comes behind a barrier after one that may meet a bad index."""
    v = gx.Variable(np.zeros(1 << 18, np.float32))

    def step(x: Any, i: Any) -> Any:
        v.assign(v + 1)
        return gx.take(x, i)

    native = built(step, gx.spec((1 << 18,)), gx.spec((1 << 18,), "int64")).native
    variables = {b.number for b in native.in_space(Space.VARIABLE)}
    gathers, *_, last = native.main.tasks
    assert not variables & set(gathers.slots) and variables & set(last.slots) and last.barrier


def products(x: Any, y: Any) -> Any:
    """Two kernels with the same tiles."""
    return nn.relu(x @ y), gx.exp(y @ x)


def test_kernels_share_their_tiles(tmp_path: Path) -> None:
    traced = gx.compile(products, backend="llvm").specialize(*[gx.spec((48, 48))] * 2).compilation.traced

    def objects() -> Mapping[str, bytes]:
        program = Compilation(traced, Settings(cache_dir=str(tmp_path))).built
        assert isinstance(program, LLVMProgram)
        return program.built.native.objects

    first = objects()
    (tiles,) = (name for name in first if name.startswith("tiles_"))
    (kept,) = (file for file in tmp_path.iterdir() if first[tiles] in file.read_bytes())
    kept.unlink()
    assert objects() == first and len(first) == 3, "kernels are not found without their tiles"
