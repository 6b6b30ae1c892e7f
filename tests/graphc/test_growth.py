"""Nothing grows: compiled functions that were dropped are freed with all that they held, calls leave nothing behind."""

from __future__ import annotations

import collections
import functools
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim

X = np.ones(4, np.float32)


class Model(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(4, 3)

    @gx.compile
    def predict(self, x: Any) -> Any:
        return self.layer(x)

    def __call__(self, x: Any) -> Any:
        return self.layer(x)


def plain() -> list[Any]:
    f = lambda x, scale=2.0: x * scale  # noqa: E731
    compiled = gx.compile(f)
    compiled(X), compiled(X, scale=np.float32(3)), compiled(x=X), compiled(X, 2)
    return [f, compiled, *compiled.specializations]


def training() -> list[Any]:
    model = Model()
    optimizer = optim.Adam(model)
    step = gx.compile(lambda x: optimizer.minimize(gx.mean(model(x) ** 2)))
    step(X)
    model.layer = nn.Linear(4, 3)
    optimizer = optim.Adam(model)
    step(X)
    return [model, optimizer, step, model.layer.weight, model.layer.weight.storage, *step.specializations]


def argument() -> list[Any]:
    model = Model()
    f = gx.compile(lambda batch, model: model(batch["x"]))
    f({"x": X}, model), f(batch={"x": X}, model=model)
    return [model, f]


def partial() -> list[Any]:
    model = Model()
    compiled = gx.compile(functools.partial(lambda m, x: m(x), model))
    compiled(X), compiled(x=X)
    return [model, compiled, compiled.function]


def derivatives() -> list[Any]:
    model = Model()
    loss = lambda x: gx.sum(model(x) ** 2)  # noqa: E731
    gx.grad(loss)(X), gx.grad(loss)(x=X)
    _, pullback = gx.vjp(loss, X)
    pullback(np.float32(1))
    gx.jvp(loss, (X,), (X,))
    return [model, loss, pullback]


def inlined() -> list[Any]:
    inner = gx.compile(lambda x: x + 1)
    outer = gx.compile(lambda x: inner(inner(x)))
    outer(X)
    return [inner, outer]


def failed() -> list[Any]:
    model = Model()
    f = gx.compile(lambda x: gx.reshape(model(x), (7,)))
    with pytest.raises(gx.ShapeError):
        f(X)
    return [model, f]


KINDS = [plain, training, argument, partial, derivatives, inlined, failed]


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("make", KINDS)
def test_what_was_dropped_is_freed(make: Callable[[], list[Any]], backend: str) -> None:
    with gx.using(backend=backend):
        kept = [weakref.ref(thing) for thing in make()]
    gc.collect()
    assert not [ref() for ref in kept if ref() is not None]


def test_a_loaded_function_is_freed(tmp_path: Path) -> None:
    gx.compile(lambda x: x + 1).build(tmp_path / "f.gxp", kind="package", inputs=[gx.spec((4,))])
    f = gx.load(tmp_path / "f.gxp")
    f(X), f(x=X)
    kept = weakref.ref(f)
    del f
    gc.collect()
    assert kept() is None


def objects() -> collections.Counter[str]:
    gc.collect()
    return collections.Counter(type(x).__qualname__ for x in gc.get_objects())


def growth(work: Callable[[int], Any], count: int) -> int:
    """How many objects are there more after so many pieces of work than after the first ones."""
    found = []
    for _ in range(2):  # of which the first finds what is kept once
        before = objects()
        for i in range(count):
            work(i)
        found.append(sum((objects() - before).values()))
    return found[-1]


def compile_and_drop(number: int) -> None:
    scale = float(number % 8)  # caches of what kernels have in common are bounded, but large
    gx.compile(lambda x, y: {"sum": gx.sum(x * scale) + y})(X, y=np.float32(1))


def calls(count: int) -> Callable[[int], None]:
    model = Model()
    optimizer = optim.SGD(model)
    step = gx.compile(lambda x: optimizer.minimize(gx.mean(model(x) ** 2)))

    def work(number: int) -> None:
        for _ in range(count):
            step(X)
            model.predict(X)

    return work


@pytest.mark.parametrize("work", [compile_and_drop, calls(20)], ids=["compile and drop", "calls"])
def test_nothing_grows(work: Callable[[int], Any]) -> None:
    with gx.using(backend="llvm"):
        assert growth(work, 50) < 25  # fewer than one for two


def resident() -> int:
    """The memory that the process has, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return 4096 * pages


@pytest.mark.long
@pytest.mark.parametrize(
    ("work", "count", "most"),
    [(compile_and_drop, 5_000, 160 << 20), (calls(5_000), 50, 8 << 20)],
    ids=["compile and drop 10⁴ functions", "10⁶ calls"],
)
def test_nothing_grows_in_the_long_run(work: Callable[[int], Any], count: int, most: int) -> None:
    with gx.using(backend="llvm"):
        work(0)
        before = resident()
        assert growth(work, count) < 25
        assert resident() - before < most
