"""16-bit floats never pass through their own range: sums, means, counts and factors are float32, and rounded once.

Each function is compared with float64, as its dtype rounds that: op by op (`reference`), fused, optimized or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.passes.pipeline import optimize
from graphc.settings import Settings
from graphc.types import DTYPES
from tests.contract.backends import run_on

Case = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]

_rng = np.random.default_rng(0)
MANY = 70_000  # more than float16's largest number, 65,504
ONES = np.ones(MANY)
LARGE = _rng.uniform(0.9, 1, (3, MANY)) * 65_504
MIXED = LARGE[:, :900] * _rng.choice([-1, 1], (3, 900))
NORMAL = _rng.standard_normal((2, MANY))
LOGITS = 3 * _rng.standard_normal((MANY, 5))
CLASSES = _rng.integers(0, 5, MANY)
WEIGHTS = np.array([1.0, 2, 3, 4, 60_000])


def _log_softmax(x: Any, axis: int = -1) -> Any:
    largest = x.max(axis, keepdims=True)
    return x - largest - np.log(np.exp(x - largest).sum(axis, keepdims=True))


def _costs(x: Any) -> Any:
    return -_log_softmax(x)[np.arange(len(x)), CLASSES]


def _normalized(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def _gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays: gx.grad(function)(*arrays)


STEPS, FACTOR = 200, 1 - 1 / 64  # a factor that both dtypes hold; rounded in each step, its power is off by percents


def _decayed(h: Any) -> Any:
    return h * gx.asarray(FACTOR, dtype=h.dtype)


def _in_loops(step: Callable[[Any], Any], **options: Any) -> Callable[..., Any]:
    return lambda h: gx.sum(gx.scan(lambda h, _: (step(h), None), h, length=STEPS, **options)[0])


LOOPS: dict[str, Callable[..., Any]] = {
    "scan": _in_loops(_decayed),
    "scan in segments": _in_loops(_decayed, remat=True),
    "scan of checkpoints": _in_loops(gx.checkpoint(_decayed)),
    "scan of choices": _in_loops(lambda h: gx.cond(gx.sum(h) > 1e-3, _decayed, lambda h: h * 0.5, h)),
    "scan of scans": lambda h: gx.sum(
        gx.fori_loop(0, STEPS // 10, lambda _, h: gx.fori_loop(0, 10, lambda _, h: _decayed(h), h), h)
    ),
    "while_loop": lambda h: gx.sum(
        gx.while_loop(lambda c: c[0] < STEPS, lambda c: (c[0] + 1, _decayed(c[1])), (0, h), max_steps=999)[1]
    ),
}

CASES: dict[str, Case] = {
    **{
        f"gradient through {name}": (_gradient(loop), lambda h: FACTOR**STEPS + 0 * h, (ONES[:3],))
        for name, loop in LOOPS.items()
    },
    "mean of ones": (gx.mean, np.mean, (ONES,)),
    "mean of 259 ones": (gx.mean, np.mean, (ONES[:259],)),
    "mean of halves": (gx.mean, np.mean, (1.5 * ONES[:60_000],)),
    "means of columns": (lambda x: gx.mean(x, axis=0), lambda x: x.mean(0), (LARGE.T,)),
    "sum of a broadcast": (
        lambda x: gx.sum(gx.broadcast_to(x, (100_000, 2)), axis=0), lambda x: 100_000 * x, ([1e-5, 1e-7],),
    ),
    "var": (gx.var, np.var, (150 * NORMAL,)),
    "std": (gx.std, np.std, (MIXED,)),
    "logsumexp": (lambda x: gx.logsumexp(x, axis=1), lambda x: np.logaddexp.reduce(x, axis=1), (0 * LARGE,)),
    "softmax of zeros": (nn.softmax, lambda x: np.exp(_log_softmax(x)), (0 * ONES,)),
    "softmax": (lambda x: nn.softmax(x, axis=0), lambda x: np.exp(_log_softmax(x, 0)), (NORMAL.T,)),
    "log_softmax": (nn.log_softmax, _log_softmax, (NORMAL,)),
    "layer_norm": (lambda x: nn.layer_norm(x, x.shape[-1]), _normalized, (MIXED,)),
    "mse_loss": (nn.mse_loss, lambda x, y: np.square(x - y).mean(), tuple(150 * NORMAL)),
    "l1_loss": (nn.l1_loss, lambda x, y: np.abs(x - y).mean(), (MIXED[0], MIXED[1] / 2)),
    "huber_loss": (
        lambda x, y: nn.huber_loss(x, y, delta=0.01),
        lambda x, y: (0.01 * np.abs(x - y) - 0.00005).mean(),
        (LARGE[0], -LARGE[1]),
    ),
    "cross_entropy": (lambda x: nn.cross_entropy(x, CLASSES), lambda x: _costs(x).mean(), (LOGITS,)),
    "cross_entropy of some": (
        lambda x: nn.cross_entropy(x, CLASSES, ignore_index=3),
        lambda x: _costs(x)[CLASSES != 3].mean(),
        (LOGITS,),
    ),
    "cross_entropy, weighted": (
        lambda x, w: nn.cross_entropy(x, CLASSES, w),
        lambda x, w: (_costs(x) * w[CLASSES]).sum() / w[CLASSES].sum(),
        (LOGITS, WEIGHTS),
    ),
    "nll_loss": (
        lambda x: nn.nll_loss(x, CLASSES[:900] % 3), lambda x: -x[np.arange(900), CLASSES[:900] % 3].mean(),
        (-LARGE.T[:900],),
    ),
    "kl_div": (nn.kl_div, lambda x, y: (y * (np.log(y) - x)).mean(), (-LARGE[0], LARGE[1] / 65_504)),
    "vector_norm": (gx.linalg.vector_norm, np.linalg.norm, (200 * NORMAL[0],)),
    "vecdot": (gx.vecdot, np.dot, ([300.0, 300, 3], [300.0, -300, 5])),
    "einsum": (
        lambda x, y: gx.einsum("ij,jk->k", x, y), lambda x, y: np.einsum("ij,jk->k", x, y),
        (LARGE[:, :500].T, 1e-4 * LARGE[:, :2] / 65_504),
    ),
    "gradient of max": (_gradient(gx.max), lambda x: x / x.size, (ONES,)),
    "gradient of mean": (_gradient(gx.mean), lambda x: 1 / x.size + 0 * x, (ONES,)),
    "gradient of prod": (_gradient(gx.prod), lambda x: x.prod() / x, ([6e4, 6e4, 1e-2, 1e-2, 1e-2, 1e-2],)),
    "gradient of take": (
        _gradient(lambda x: gx.sum(gx.take(x, np.zeros(1000, np.int64)))), lambda x: [1000, 0, 0], (ONES[:3],),
    ),
    "gradient from many users": (
        _gradient(lambda x: gx.sum(gx.stack([x * float(i % 3) for i in range(600)]))), lambda x: 600 * x,
        (ONES[:1],),
    ),
    # 1/70,000 is subnormal in float16: rounded on its way, it would be off by 0.1 %, and what is smaller by more.
    "gradient of a bias": (
        _gradient(lambda b: gx.mean(gx.broadcast_to(b, (MANY, 3)) * 3)), lambda b: 1 + 0 * b, (ONES[:3],),
    ),
    "gradient through tanh": (
        _gradient(lambda b: gx.mean(gx.tanh(gx.broadcast_to(b, (MANY, 2))) ** 2)),
        lambda b: np.tanh(b) * (1 - np.tanh(b) ** 2), ([0.25, 0.5],),
    ),
    "gradient of mse_loss": (
        _gradient(lambda x: nn.mse_loss(x, gx.zeros_like(x))), lambda x: 2 * x / x.size, (300 * NORMAL[0],),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_and_counts_are_rounded_once(dtype: str, name: str) -> None:
    function, meaning, numbers = CASES[name]
    narrow = DTYPES[dtype].numpy
    arrays = [np.minimum(np.asarray(x), 65_504).astype(narrow, order="C") for x in numbers]
    wanted = np.asarray(meaning(*(a.astype(np.float64) for a in arrays)), np.float64)
    traced = gx.trace(function, *arrays)
    for backend, graph in (("reference", traced), ("kernels", traced), ("llvm", optimize(traced, Settings()))):
        (got,) = run_on(backend, graph, arrays)
        assert got.dtype == narrow
        assert_rounded(got, wanted, f"{name} on {backend}")


@pytest.mark.parametrize("name", ["mean of 259 ones", "std", "gradient of take"])
def test_they_are_so_in_triton(name: str) -> None:
    function, meaning, numbers = CASES[name]
    arrays = [np.asarray(x).astype(np.float16) for x in numbers]
    wanted = np.asarray(meaning(*(a.astype(np.float64) for a in arrays)), np.float64)
    (got,) = run_on("triton", optimize(gx.trace(function, *arrays), Settings()), arrays)
    assert_rounded(got, wanted, f"{name} on triton")


def test_the_first_argument_decides_also_by_name() -> None:
    x, y = np.ones((2, 3), np.float16), np.zeros(2, np.int64)
    assert nn.cross_entropy(target=y, input=x).dtype is gx.float16
    assert nn.mse_loss(target=x.astype(np.float32), input=x).dtype is gx.float16
    assert nn.layer_norm(x, 3, np.ones(3, np.float32)).dtype is gx.float32  # as promotion has it


def assert_rounded(got: np.ndarray, wanted: np.ndarray, where: str) -> None:
    """Within one unit in the last place, which float32's own rounding may cost beside a tie."""
    assert np.isfinite(got.astype(np.float32)).all(), where
    nearest = wanted.astype(got.dtype)
    distance = np.abs(got.astype(np.float64) - wanted)
    unit = np.spacing(np.abs(nearest)).astype(np.float64)
    assert np.all(distance <= 0.6 * unit), f"{where}: {(distance / unit).max():.2f} units in the last place"
