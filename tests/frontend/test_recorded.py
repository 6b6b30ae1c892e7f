"""Functions of several steps, called again and again outside of traces: the same bits, types and errors each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.frontend import recorded
from tests.snippets import FILE, seen

A = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
B = np.linspace(-1, 3, 12, dtype=np.float32).reshape(3, 4)[::-1].copy()
C, P = np.array([3, 0, 2]), np.array([[1, -1], [0, 2]])

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: gx.sum(a, axis=0, keepdims=True),
    "mean": lambda a, b: gx.mean(a),
    "var": lambda a, b: gx.var(a, axis=-1, correction=1),
    "argmax": lambda a, b: gx.argmax(a, axis=1),
    "any": lambda a, b: gx.any(a > b, axis=0),
    "logsumexp": lambda a, b: gx.logsumexp(a, axis=1),
    "where": lambda a, b: gx.where(a > b, a, 0),
    "where row": lambda a, b: gx.where(a[0] > 0, a, b),
    "clip": lambda a, b: gx.clip(a, 0, b),
    "take": lambda a, b: gx.take(a, P, axis=1),
    "take_along_axis": lambda a, b: gx.take_along_axis(a, C[:, None] % 3, axis=1),
    "one_hot": lambda a, b: gx.one_hot(C, 5),
    "concat": lambda a, b: gx.concat([a, b], axis=1),
    "stack": lambda a, b: gx.stack([a, b], axis=1),
    "split": lambda a, b: gx.split(a, [1, 3], axis=1),
    "unstack": lambda a, b: gx.unstack(a),
    "meshgrid": lambda a, b: gx.meshgrid(a[0], b[1]),
    "roll": lambda a, b: gx.roll(a, 3),
    "tile": lambda a, b: gx.tile(a, (2, 3)),
    "repeat": lambda a, b: gx.repeat(a, C[::-1] % 2, axis=0),
    "pad": lambda a, b: gx.pad(a, 1, constant=-0.0),
    "moveaxis": lambda a, b: gx.moveaxis(a[None], 0, -1),
    "matmul": lambda a, b: gx.matmul(a.T, b),
    "einsum": lambda a, b: gx.einsum("ij,kj->ki", a, b),
    "outer": lambda a, b: gx.outer(a[0], b[0]),
    "diagonal": lambda a, b: gx.linalg.diagonal(a, offset=1),
    "tril": lambda a, b: gx.tril(a),
    "norm": lambda a, b: gx.linalg.vector_norm(a, axis=0),
    "relu6": lambda a, b: nn.relu6(a),
    "gelu": lambda a, b: nn.gelu(a),
    "softmax": lambda a, b: nn.softmax(a, axis=0),
    "softmax of halves": lambda a, b: nn.softmax(gx.astype(a, gx.float16)),
    "layer_norm": lambda a, b: nn.layer_norm(a, 4, b[0], b[1]),
    "cross_entropy": lambda a, b: nn.cross_entropy(a, C, weight=b[2] * b[2]),
    "cross_entropy of probabilities": lambda a, b: nn.cross_entropy(a, nn.softmax(b), reduction="none"),
    "huber_loss": lambda a, b: nn.huber_loss(a, b, delta=0.5),
    "kl_div": lambda a, b: nn.kl_div(a, nn.softmax(b), reduction="sum"),
    "linspace": lambda a, b: gx.linspace(0, 1, 5),
    "mask": lambda a, b: a[a > b],
    "places": lambda a, b: a[[0, -1], 1:],
    "columns": lambda a, b: a[:, [True, False, False, True]],
}


def _plain(found: Any) -> list[np.ndarray]:
    return [x.numpy() for x in (found if isinstance(found, tuple | list) else [found])]


def _same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    for x, y in zip(_plain(got), _plain(want), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("name", CALLS)
def test_calls_give_the_same_bits_each_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = CALLS[name]
    for a, b in ((A, B), (B, A), (A - 3, A)):  # types that were met, with other values
        args = gx.asarray(a), gx.asarray(b)
        again = [call(*args) for _ in range(3)]
        with monkeypatch.context() as m:
            m.setattr(recorded, "FEW", -1)  # nothing is recorded
            plain = call(*args)
        for found in again:
            _same(found, plain)


def test_what_tells_calls_apart() -> None:
    x = gx.asarray(A)
    for fill in (0, 0.0, -0.0, True, 1, 1.0):  # which equal one another
        for _ in range(3):
            got = gx.where(x > 0, x, fill).numpy()
            np.testing.assert_array_equal(np.signbit(got[A <= 0]), np.signbit(fill))
            assert (got[A <= 0] == fill).all()
    for axis in (0, False + 1, (0,), (0, 1), None):
        for _ in range(3):
            np.testing.assert_allclose(gx.sum(x, axis=axis).numpy(), A.sum(axis), atol=1e-5)


def test_arrays_of_others_are_read_anew_and_never_shared() -> None:
    theirs = A.copy()
    for step in range(4):
        theirs[0, 0] = step
        found = gx.moveaxis(theirs, 0, 1)
        theirs[0, 0] = -1
        assert found.numpy()[0, 0] == step
    weight = gx.Variable(A)
    for step in range(4):
        weight.assign(A + step)
        np.testing.assert_allclose(gx.sum(weight).numpy(), (A + step).sum(), rtol=1e-5)


def test_errors_are_the_same_each_time_and_end_at_the_users_line() -> None:
    found = seen("""
x = gx.asarray(np.ones((3, 2), np.float32))
for _ in range(3):
    gx.take(x, np.array([0, 1]))
gx.take(x, np.array([0, 6]))""")
    assert isinstance(found.error, IndexError)
    assert "0 ≤ index < 6" in found.text
    assert "line 5" in found.text
    assert found.frames == [FILE]


def test_few_calls_are_remembered() -> None:
    x = gx.asarray(np.float32(1))
    for number in range(3 * recorded.MOST):
        gx.where(True, x, number)
    assert len(recorded._memory.recent) <= recorded.MOST
    for _ in range(3):
        assert gx.where(False, x, 7).item() == 7
