"""More kernels that sum over scores than fusion cuts today, built by hand for the lowering's tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.index import Gathered, Index
from graphc.kernel import Kernel
from graphc.types import bool_, float32, int32
from tests.attention_kernels import Attention, Scores


def grouped_sums(case: Attention) -> Kernel:
    """Maximum, sum and weighted values over the keys and all heads of a group: two axes are summed over."""
    s = Scores(case)
    return _softmax(s, s.b.max_or_infinity(s.t, s.over("y", "j")), ("y", "j"), s.shared * case.queries + s.i)


def several_statistics(case: Attention) -> Kernel:
    """Maximum, minimum and sum of squares of scores that nothing depends on, and a product with the scores."""
    s = Scores(case)
    b, over = s.b, s.over("j")
    for name, value in {
        "most": b.max(s.t, over),
        "least": b.reduce(lambda s, x, y: s.min(x, y), [math.inf], [s.t], over, name="min"),
        "squares": b.sum(b.apply(lambda s, x: x * x, s.t), over),
    }.items():
        b.store(s.rows(name), s.row, value)
    b.store(s.slot("o", _results(case)), s.result(s.c), b.dot(s.t, _values(s), over))
    return s.kernel()


def sigmoid(case: Attention) -> Kernel:
    """Weights that are relative to nothing."""
    s = Scores(case)
    w = s.b.apply(lambda s, x: 1 / (1 + s.exp(-x)), s.t, name="sigmoid")
    s.b.store(s.slot("o", _results(case)), s.result(s.c), s.b.dot(w, _values(s), s.over("j")))
    return s.kernel()


def chosen(case: Attention) -> Kernel:
    """A bool mask for each score."""
    s = Scores(case)
    mask = s.b.load(s.slot("allowed", case.queries * case.keys, bool_, False), s.i * case.keys + s.j)
    s.t = s.b.apply(_select, mask, s.t, s.b.const(-math.inf))
    return _softmax(s, s.b.max_or_infinity(s.t, s.over("j")), ("j",), s.row)


def gathered(case: Attention) -> Kernel:
    """A bias that is looked up by a number for each score."""
    s = Scores(case)
    n = s.b.load(s.slot("buckets", case.queries * case.keys, int32, False), s.i * case.keys + s.j)
    place = Index(((Gathered(n, 16, frozenset(s.i.axes | s.j.axes)), 1),))
    s.t = s.b.apply(lambda s, x, y: x + y, s.t, s.b.load(s.slot("table", 16, float32, False), place))
    return _softmax(s, s.b.max_or_infinity(s.t, s.over("j")), ("j",), s.row)


def dropped(case: Attention) -> Kernel:
    """Weights of which some, chosen by integers of their positions, are 0."""
    s = Scores(case)
    keep = s.b.apply(lambda s, i, j: s.cast(i * 7919 + j * 104729, int32) & 7, s.b.position(s.i), s.b.position(s.j))

    def thinned(s: Any, k: Any, x: Any) -> Any:
        return s.select(k < s.const(6, int32), x * 1.25, s.const(0, float32))

    def weights(e: int) -> int:
        return s.b.apply(thinned, keep, e)

    return _softmax(s, s.b.max_or_infinity(s.t, s.over("j")), ("j",), s.row, weights)


def below_maxima(case: Attention) -> Kernel:
    """Scores below their maximum, which is 0 where both are -inf: a row that is masked throughout weights all alike."""
    s = Scores(case)
    m = s.b.max_or_infinity(s.t, s.over("j"))
    s.b.store(s.rows("m"), s.row, m)
    return _finished(s, _below(s, m), ("j",), s.row, lambda e: e)


def without_columns(case: Attention) -> Kernel:
    """Weights times one number of each key, summed, and stored several times; and weights times scores."""
    s = Scores(case)
    e = s.weights(s.b.max_or_infinity(s.t, s.over("j")))
    number = s.b.load(s.slot("numbers", case.heads // case.group * case.keys), s.shared * case.keys + s.j)
    s.b.store(s.slot("o", _results(case)), s.result(s.c), s.b.dot(e, number, s.over("j")))
    finite = s.b.apply(lambda s, t: s.select(t < -1e9, s.const(0, t.dtype), t), s.t)
    s.b.store(s.rows("weighted"), s.row, s.b.dot(e, finite, s.over("j")))
    return s.kernel()


def weighted_queries(case: Attention) -> Kernel:
    """The same weights, of maxima that are known, summed over the queries, each with queries g."""
    s = Scores(case)
    e = _below(s, s.b.load(s.rows("m"), s.row))
    g = s.b.load(s.slot("g", case.heads * case.queries * case.width), s.result(s.c))
    place = (s.head * case.keys + s.j) * case.width + s.c
    s.b.store(s.slot("dv", case.heads * case.keys * case.width), place, s.b.dot(e, g, s.over("i")))
    return s.kernel()


def weighted_keys(case: Attention) -> Kernel:
    """The same weights, of maxima that are known, summed over the keys."""
    s = Scores(case)
    e = _below(s, s.b.load(s.rows("m"), s.row))
    s.b.store(s.slot("o", _results(case)), s.result(s.c), s.b.dot(e, _values(s), s.over("j")))
    return s.kernel()


def _below(s: Scores, m: int) -> int:
    below = s.b.apply(lambda s, x, y: s.select(s.eq(x, y), 0, x - y), s.t, m, name="difference")
    return s.b.apply(lambda s, x: s.exp(x), below, name="exp")


def _softmax(
    s: Scores, m: int, over: tuple[str, ...], row: Index, weights: Callable[[int], int] = lambda e: e
) -> Kernel:
    return _finished(s, s.weights(m), over, row, weights)


def _finished(s: Scores, e: int, over: tuple[str, ...], row: Index, weights: Callable[[int], int]) -> Kernel:
    u = s.b.dot(weights(e), _values(s), s.over(*over))
    o = s.b.apply(lambda s, x, y: x * y, u, s.inverse(s.b.sum(e, s.over(*over))))
    s.b.store(s.slot("o", _results(s.case)), row * s.case.width + s.c, o)
    return s.kernel()


def _values(s: Scores) -> int:
    return s.b.load(s.slot("v", s.case.heads // s.case.group * s.case.keys * s.case.width), s.value(s.c))


def _results(case: Attention) -> int:
    return case.heads * case.queries * case.width


def _select(s: Any, mask: Any, a: Any, b: Any) -> Any:
    return s.select(mask, a, b)


MORE_FORMS: dict[str, Callable[[Attention], Kernel]] = {
    f.__name__: f
    for f in (
        grouped_sums, several_statistics, sigmoid, chosen, gathered, dropped, below_maxima, without_columns,
    )
}  # fmt: skip
