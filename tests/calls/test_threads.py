"""What a call promises where several threads call, and where several threads carry it out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.backends.llvm.run import team

X = np.arange(4, dtype=np.float32)
native = pytest.mark.parametrize("backend", ["llvm"], indirect=True)  # what only machine code can get wrong


def test_calls_from_several_threads():
    total = gx.Variable(np.zeros(5000, np.int64))

    @gx.compile
    def add(x: Any) -> Any:
        total.assign(total + x)
        return total.value, gx.sum(x)

    add(np.zeros(5000, np.int64))
    wrong: list[Any] = []

    def work(number: int) -> None:
        x = np.full(5000, number, np.int64)
        for _ in range(20):
            now, own = add(x)
            if own.item() != 5000 * number or len(set(now.numpy().tolist())) != 1:
                wrong.append(number)

    def in_context(number: int) -> Callable[[], None]:
        context = contextvars_copy()
        return lambda: context.run(work, number)

    threads = [threading.Thread(target=in_context(n)) for n in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and total.numpy()[0] == 20 * sum(range(1, 7)) == total.numpy()[-1]


def test_a_trace_may_wait_for_another_thread():
    found: list[Any] = []

    @gx.compile
    def f(x: Any) -> Any:
        other = threading.Thread(target=lambda: found.append((gx.asarray([1.0]) + 1).item()))
        other.start()
        other.join(20)
        return x * len(found)

    assert f(X).tolist() == X.tolist() and found == [2]


def contextvars_copy() -> Any:
    import contextvars

    return contextvars.copy_context()


def layer_norm_gradient(x: Any, scale: Any) -> Any:
    def loss(x: Any, scale: Any) -> Any:
        y = nn.layer_norm(x, (x.shape[-1],), scale)
        return gx.sum(y * y * x)

    return gx.grad(loss, argnums=(0, 1))(x, scale)


KERNELS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "column sum": (lambda x: gx.sum(x, axis=0), [(5000, 96)]),
    "full sum": (lambda x: gx.sum(x), [(1000, 997)]),
    "row sum": (lambda x: gx.sum(x, axis=1), [(7, 300_000)]),
    "softmax": (lambda x: nn.softmax(x), [(700, 1000)]),
    "column softmax": (lambda x: nn.softmax(x, 0), [(3000, 130)]),
    "matmul": (lambda a, b: gx.tanh(a @ b), [(300, 700), (700, 500)]),
    "deep matmul": (lambda a, b: a @ b, [(8, 100_000), (100_000, 8)]),
    "layer norm gradient": (layer_norm_gradient, [(2000, 256), (256,)]),
    "mean and variance": (lambda x: (gx.mean(x), gx.var(x, axis=0)), [(3000, 64)]),
}


@native
@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_threads(name, monkeypatch):
    function, shapes = KERNELS[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("f4") for s in shapes]
    monkeypatch.setattr(team, "usable_threads", lambda: 4)
    found = {}
    for threads in (1, 2, 3, 4, 2):
        with gx.using(threads=threads):
            results = gx.compile(function)(*arrays)
        leaves = results if isinstance(results, tuple) else (results,)
        found[threads] = [r.numpy().tobytes() for r in leaves]
        assert found[threads] == found[1], f"{threads} threads"
