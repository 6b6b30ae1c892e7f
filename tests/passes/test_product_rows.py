"""What is reduced of a product's rows is computed where the product is made, if the backend can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.kernel import Kernel
from graphc.passes.fuse import fuse

RNG = np.random.default_rng(0)


def data(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / 4).astype(np.float32)


def layer_norm(x: gx.Tensor) -> gx.Tensor:
    d = x - gx.mean(x, axis=-1, keepdims=True)
    return d / gx.sqrt(gx.mean(d * d, axis=-1, keepdims=True) + 1e-5)


def cross_entropy(x: gx.Tensor) -> gx.Tensor:
    """Of every row's first class: the loss, its gradient, and how many are right."""
    target = gx.astype(gx.arange(x.shape[-1]) == 0, "float32")
    loss = gx.mean(gx.logsumexp(x, axis=-1) - gx.sum(x * target, axis=-1))
    return gx.sum(gx.astype(gx.argmax(x, axis=-1) == 0, "float32")) + loss


ROWS: dict[str, Callable] = {
    "softmax": lambda y: nn.softmax(y),
    "log_softmax": lambda y: nn.log_softmax(y),
    "layer norm": layer_norm,
    "rms norm": lambda y: y / gx.sqrt(gx.mean(y * y, axis=-1, keepdims=True) + 1e-5),
    "argmax": lambda y: gx.argmax(y, axis=-1),
    "max and sum": lambda y: gx.max(y, axis=-1) + gx.sum(y, axis=-1),
    "loss": cross_entropy,
    "softmax and its columns": lambda y: gx.max(nn.softmax(y), axis=0) + gx.sum(nn.softmax(y), axis=0),
}
SIZES = [(33, 20, 10), (200, 48, 130), (64, 16, 64)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_kernel(rows: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    x, w, b, r = data(m, k), data(k, n), data(n), data(m, n)
    function = gx.compile(lambda x, w, b, r: ROWS[rows](x @ w + b + r))
    plain = gx.compile(lambda x, w, b, r: ROWS[rows](x @ w + b + r), backend="reference")
    np.testing.assert_allclose(function(x, w, b, r), plain(x, w, b, r), 1e-4, 1e-5)
    kernels = [k for k in function.schedule(x, w, b, r).work if isinstance(k, Kernel)]
    assert sum(k.kind.value in ("attention", "contraction") for k in kernels) == 1
    assert any(k.kind.value == "attention" for k in kernels)


def test_gradients() -> None:
    """A step through a projection, a norm and a loss, forward and backward."""
    x, w, v = data(40, 24), data(24, 32), data(32, 10)

    def loss(x, w, v):
        return cross_entropy(layer_norm(x @ w) @ v)

    step = gx.compile(lambda x, w, v: gx.grad(loss, (0, 1, 2))(x, w, v))
    plain = gx.compile(lambda x, w, v: gx.grad(loss, (0, 1, 2))(x, w, v), backend="reference")
    for got, wanted in zip(step(x, w, v), plain(x, w, v), strict=True):
        np.testing.assert_allclose(got, wanted, 2e-3, 1e-5)


def test_batches_and_parts_of_rows() -> None:
    """Batched products; heads that are parts of a product's columns; a result that a gather reads as well."""
    x, w, which = data(3, 20, 16), data(3, 16, 24), RNG.integers(0, 24, (3, 20))
    cases: list[Callable] = [
        lambda x, w, i: nn.softmax(x @ w),
        lambda x, w, i: nn.softmax(gx.reshape(x @ w[0], (3, 20, 4, 6))),
        lambda x, w, i: nn.softmax(x @ w, axis=1),
        lambda x, w, i: gx.take_along_axis(nn.log_softmax(x @ w), i[..., None], axis=-1),
        lambda x, w, i: gx.sum(nn.softmax(x @ w), axis=(0, 1)),
        lambda x, w, i: nn.softmax(gx.cumulative_sum(x @ w, axis=-1)),
        lambda x, w, i: nn.softmax(x @ w) @ gx.permute_dims(w, (0, 2, 1)),
    ]
    for case in cases:
        got, wanted = (gx.compile(case, backend=b)(x, w, which) for b in ("llvm", "reference"))
        np.testing.assert_allclose(got, wanted, 1e-4, 1e-5)


def test_no_backend_makes_rows_if_none_is_asked() -> None:
    graph = gx.trace(lambda x, w: nn.softmax(x @ w), data(8, 8), data(8, 8))
    kinds = [f.kernel.kind.value for f in fuse(graph)]
    assert kinds == ["contraction", "reduction"]
