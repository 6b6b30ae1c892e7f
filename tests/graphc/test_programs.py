"""Standalone programs of traced functions: they compute what the functions do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")

RNG = np.random.default_rng(0)
W = gx.Variable(RNG.standard_normal((3, 4)).astype(np.float32))
BIG = gx.Variable(RNG.standard_normal((48, 48)).astype(np.float32))


def signs() -> Any:
    y = gx.sign(gx.square(W))
    return y, gx.take(y, gx.asarray([1]), axis=1)


def shared_with_prepared_work(x: Any) -> Any:
    """Prepared work and the call's own have nodes in common."""
    y = BIG * 2
    return y + x, gx.sum(y, axis=0), x @ gx.exp(y)


def only_variables() -> Any:
    y = gx.tanh(BIG)
    return y, gx.sum(y), y.T, BIG.value


def unrolled(x: Any) -> Any:
    """Steps that share a kernel, on parts of one input."""
    h = gx.zeros((5, 48))
    for t in range(4):
        h = gx.tanh(x[t] @ BIG + h)
    return h


def loops(x: Any, h: Any) -> Any:
    """A scan whose weight is packed before, a loop that ends by itself, a choice."""
    h, ys = gx.scan(lambda h, row: ((n := gx.tanh(h @ BIG + row)), gx.sum(n)), h, x)
    h, halvings = gx.while_loop(lambda c: gx.max(gx.abs(c[0])) > 0.1, lambda c: (c[0] / 2, c[1] + 1), (h, 0))
    return h, ys, halvings, gx.cond(ys[0] > 0, lambda: gx.sin(ys), lambda: gx.cos(ys))


FUNCTIONS: list[tuple[Callable[..., Any], list[tuple[int, ...]]]] = [
    (signs, []),
    (shared_with_prepared_work, [(48, 48)]),
    (only_variables, []),
    (unrolled, [(4, 5, 48)]),
    (loops, [(6, 48), (48,)]),
    (lambda x: nn.softmax(x @ BIG) + gx.max(BIG, axis=1), [(5, 48)]),
]


@pytest.mark.parametrize("function, shapes", FUNCTIONS, ids=lambda x: getattr(x, "__name__", None))
def test_a_program_computes_what_its_function_does(
    function: Callable[..., Any], shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    f = gx.compile(function, backend="llvm", inputs=[gx.spec(s) for s in shapes])
    f.build(tmp_path / "program")
    inputs = [RNG.standard_normal(s).astype(np.float32) for s in shapes]
    result = f(*inputs)
    expected = [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]
    command = [str(tmp_path / "program")]
    for i, x in enumerate(inputs):
        np.save(tmp_path / f"x{i}.npy", x)
        command.append(str(tmp_path / f"x{i}.npy"))
    for i in range(len(expected)):
        command += ["-o", str(tmp_path / f"y{i}.npy")]
    subprocess.run(command, check=True)
    for i, y in enumerate(expected):
        np.testing.assert_allclose(np.load(tmp_path / f"y{i}.npy"), y, rtol=1e-6)
