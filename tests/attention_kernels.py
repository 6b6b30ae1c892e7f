"""Attention kernels built by hand, of every form that fusion cuts: for the lowerings, and for what kernels mean.

Queries q[b, h, i, d], keys k[b, h // group, j, d], values v[b, h // group, j, c]. A kernel works on scores
t[b, h, i, j] of queries and keys, which are nowhere stored. The axis h is two: x for groups, y within a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.index import Axis, Index
from graphc.kernel import Kernel, sorted_axes
from graphc.types import DType, bool_, float32
from tests.build_kernels import Build, axes


@dataclass(frozen=True)
class Attention:
    """Sizes and masks. `window`: how many keys up to its own place a query sees. `bias`: b[h, i, j] is added to the
    scores; `masked`: a bool mask[b, j] says which keys count. `safe`: rows masked throughout are 0, not NaN."""

    batch: int = 2
    heads: int = 2
    group: int = 1
    queries: int = 16
    keys: int = 16
    depth: int = 8
    width: int = 8
    causal: bool = False
    window: int = 0
    bias: bool = False
    masked: bool = False
    safe: bool = False
    transposed: bool = False   # k lies as [b, x, d, j]
    dtype: DType = float32

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.depth)


class Scores:
    """A kernel in the making, up to the scores t (`self.t`) of queries and keys."""

    def __init__(self, case: Attention) -> None:
        self.case, b = case, Build()
        self.b = b
        sizes = dict(b=case.batch, x=case.heads // case.group, y=case.group, i=case.queries, j=case.keys)
        self.axes, (bb, x, y, i, j, d, c, d2, c2) = axes(
            **sizes, d=case.depth, c=case.width, e=case.depth, f=case.width
        )
        self.i, self.j, self.d, self.c, self.d2, self.c2 = i, j, d, c, d2, c2
        self.head = (bb * (case.heads // case.group) + x) * case.group + y      # of queries
        self.shared = bb * (case.heads // case.group) + x                       # of keys and values
        self.batch, self.which = bb, x * case.group + y
        self.q = self.slot("q", case.heads * case.queries * case.depth)
        self.k = self.slot("k", case.heads // case.group * case.keys * case.depth)
        self.t = self._scores()

    def slot(self, name: str, size: int, dtype: DType | None = None, batches: bool = True) -> int:
        return self.b.slot(name, size * (self.case.batch if batches else 1), dtype or self.case.dtype)

    def axis(self, name: str) -> Axis:
        return next(a for a in self.axes if a.name == name)

    def over(self, *names: str) -> tuple[Axis, ...]:
        return tuple(self.axis(n) for n in names)

    def query(self, depth: Index) -> Index:
        return (self.head * self.case.queries + self.i) * self.case.depth + depth

    def key(self, depth: Index) -> Index:
        case = self.case
        if case.transposed:
            return (self.shared * case.depth + depth) * case.keys + self.j
        return (self.shared * case.keys + self.j) * case.depth + depth

    def value(self, column: Index) -> Index:
        return (self.shared * self.case.keys + self.j) * self.case.width + column

    def result(self, column: Index) -> Index:
        return (self.head * self.case.queries + self.i) * self.case.width + column

    @property
    def row(self) -> Index:
        return self.head * self.case.queries + self.i

    def wide(self, number: int) -> int:
        return self.b.cast(number, float32) if self.b.values[number].dtype is not float32 else number

    def narrow(self, number: int) -> int:
        """As an operand of a product: in the dtype of what it is multiplied with."""
        return self.b.cast(number, self.case.dtype) if self.case.dtype is not float32 else number

    def _scores(self) -> int:
        case, b = self.case, self.b
        s = b.dot(b.load(self.q, self.query(self.d)), b.load(self.k, self.key(self.d)), self.over("d"))
        t = b.apply(_mul, s, b.const(case.scale))
        if case.bias:
            bias = self.slot("bias", case.heads * case.queries * case.keys, batches=False)
            place = (self.which * case.queries + self.i) * case.keys + self.j
            t = b.apply(_add, t, self.wide(b.load(bias, place)))
        return self.chosen(t, -math.inf)

    def chosen(self, t: int, otherwise: float) -> int:
        """The value where the masks let it, else another: as scores are masked, and their gradients."""
        b = self.b
        for mask in self._masks():
            t = b.apply(_select, mask, t, b.const(otherwise), name="where")
        return t

    def _masks(self) -> list[int]:
        case, b, masks = self.case, self.b, []
        row, column = b.position(self.i + (case.keys - case.queries)), b.position(self.j)
        if case.causal:
            masks.append(b.apply(_ge, row, column, name="greater_equal"))
        if case.window:
            masks.append(b.apply(_lt, b.apply(_sub, row, column), b.const(case.window, row_dtype(b, row)), name="less"))
        if case.masked:
            masks.append(b.load(self.mask, self.batch * case.keys + self.j))
        return masks

    @property
    def mask(self) -> int:
        found = [n for n, s in enumerate(self.b.slots) if s.name == "mask"]
        return found[0] if found else self.slot("mask", self.case.keys, bool_)

    def most(self, m: int) -> int:
        """What scores are taken relative to: the maximum, if there is one."""
        b = self.b
        if not self.case.safe:
            return m
        return b.apply(lambda s, x: s.select(s.eq(x, -math.inf), s.const(0, float32), x), m, name="finite")

    def inverse(self, total: int) -> int:
        if not self.case.safe:
            return self.b.apply(lambda s, x: 1 / x, total, name="reciprocal")
        return self.b.apply(lambda s, x: s.select(s.eq(x, 0), s.const(0, float32), 1 / x), total, name="inverse")

    def weights(self, m: int) -> int:
        """exp(t - m)"""
        return self.b.apply(lambda s, x: s.exp(x), self.b.apply(_sub, self.t, self.most(m)), name="exp")

    def rows(self, name: str) -> int:
        """A slot for a number of each query."""
        return self.slot(name, self.case.heads * self.case.queries, float32)

    def kernel(self) -> Kernel:
        used = [
            *(i for v in self.b.values if hasattr(v, "index") for i in (v.index,)),
            *(s.index for s in self.b.stores),
        ]
        axes_used = {a for i in used for a in i.axes} | {a for v in self.b.values for a in getattr(v, "axes", ())}
        return self.b.kernel(*sorted_axes((a for a in self.axes if a in axes_used), self.b.values))


def row_dtype(b: Build, number: int) -> DType:
    return b.values[number].dtype


def forward(case: Attention) -> Kernel:
    """The result o[b, h, i, c], and of each row of scores the maximum m and 1 / sum of exp(t - m)."""
    s = Scores(case)
    b = s.b
    m = b.max_or_infinity(s.t, s.over("j"))
    e = s.weights(m)
    r = s.inverse(b.sum(e, s.over("j")))
    v = s.slot("v", case.heads // case.group * case.keys * case.width)
    u = b.dot(s.narrow(e), b.load(v, s.value(s.c)), s.over("j"))
    o = b.apply(_mul, u, r)
    b.store(s.rows("m"), s.row, m)
    b.store(s.rows("r"), s.row, r)
    b.store(s.slot("o", case.heads * case.queries * case.width), s.result(s.c), o)
    return s.kernel()


def row_sums(case: Attention) -> Kernel:
    """log of the sum of exp(t) of each row: no outer product."""
    s = Scores(case)
    b = s.b
    m = b.max_or_infinity(s.t, s.over("j"))
    e = s.weights(m)
    total = b.sum(e, s.over("j"))
    b.store(s.rows("logsumexp"), s.row, b.apply(lambda s, x, y: s.log(x) + y, total, s.most(m), name="log_add"))
    return s.kernel()


@dataclass
class _Backward:
    """Weights e from the known m, and ds, the gradient of a score but for the factor of the scale."""

    s: Scores

    def __post_init__(self) -> None:
        s, case, b = self.s, self.s.case, self.s.b
        self.v = s.slot("v", case.heads // case.group * case.keys * case.width)
        self.g = s.slot("g", case.heads * case.queries * case.width)
        m, r, self.middle = (b.load(s.rows(n), s.row) for n in ("m", "r", "D"))
        self.e, self.r = s.weights(m), r
        dp = b.dot(b.load(self.g, s.result(s.c)), b.load(self.v, s.value(s.c)), s.over("c"))
        ds = b.apply(_mul, b.apply(_mul, self.e, r), b.apply(_sub, dp, self.middle))
        self.ds = b.apply(_mul, s.chosen(ds, 0), b.const(case.scale))


def query_gradient(case: Attention) -> Kernel:
    """dq[b, h, i, d]. m, 1 / sum and D = sum of g·o are known of each row."""
    s = Scores(case)
    b = s.b
    back = _Backward(s)
    dq = b.dot(s.narrow(back.ds), b.load(s.k, s.key(s.d2)), s.over("j"))
    b.store(s.slot("dq", case.heads * case.queries * case.depth), s.query(s.d2), dq)
    return s.kernel()


def key_gradients(case: Attention) -> Kernel:
    """dk[b, h, j, d] and dv[b, h, j, c] for each head of the queries: heads that share keys are summed elsewhere."""
    s = Scores(case)
    b = s.b
    back = _Backward(s)
    dk = b.dot(s.narrow(back.ds), b.load(s.q, s.query(s.d2)), s.over("i"))
    weighted = b.apply(_mul, s.wide(b.load(back.g, s.result(s.c2))), back.r)
    dv = b.dot(s.narrow(back.e), s.narrow(weighted), s.over("i"))
    place = s.head * case.keys + s.j
    b.store(s.slot("dk", case.heads * case.keys * case.depth), place * case.depth + s.d2, dk)
    b.store(s.slot("dv", case.heads * case.keys * case.width), place * case.width + s.c2, dv)
    return s.kernel()


FORMS: dict[str, Callable[[Attention], Kernel]] = {
    "forward": forward,
    "row sums": row_sums,
    "query gradient": query_gradient,
    "key gradients": key_gradients,
}


def reference(case: Attention, form: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the form's slots hold in the end, by the formula, in float64. `arrays`: what is loaded, flat."""
    x = {n: a.astype(np.float64) if a.dtype != bool else a for n, a in arrays.items()}
    heads, shared = (case.batch, case.heads), (case.batch, case.heads // case.group)
    q = x["q"].reshape(*heads, case.queries, case.depth)
    k = x["k"].reshape(*shared, *((case.depth, case.keys) if case.transposed else (case.keys, case.depth)))
    k = np.repeat(np.swapaxes(k, -1, -2) if case.transposed else k, case.group, 1)
    t = q @ np.swapaxes(k, -1, -2) * case.scale
    if case.bias:
        t = t + x["bias"].reshape(case.heads, case.queries, case.keys)
    seen = _seen(case, x)
    t = np.where(seen, t, -np.inf)
    with np.errstate(all="ignore"):
        m = t.max(-1) if "m" not in x else x["m"].reshape(*heads, case.queries)
        e = np.exp(t - (np.where(m == -np.inf, 0, m) if case.safe else m)[..., None])
        total = e.sum(-1)
        r = np.where(total == 0, 0, 1 / total) if case.safe else 1 / total
        if form == "row sums":
            return {"logsumexp": np.log(total) + (np.where(m == -np.inf, 0, m) if case.safe else m)}
        v = np.repeat(x["v"].reshape(*shared, case.keys, case.width), case.group, 1)
        if form == "forward":
            return {"m": m, "r": r, "o": e @ v * r[..., None]}
        g = x["g"].reshape(*heads, case.queries, case.width)
        r, middle = (x[n].reshape(*heads, case.queries)[..., None] for n in ("r", "D"))
        ds = np.where(seen, e * r * (g @ np.swapaxes(v, -1, -2) - middle), 0) * case.scale
        if form == "query gradient":
            return {"dq": ds @ k}
        return {"dk": np.swapaxes(ds, -1, -2) @ q, "dv": np.swapaxes(e, -1, -2) @ (g * r)}


def _seen(case: Attention, x: dict[str, np.ndarray]) -> np.ndarray:
    """Which scores count, [b, h, i, j]."""
    row, column = np.arange(case.queries)[:, None] + (case.keys - case.queries), np.arange(case.keys)[None, :]
    seen = np.ones((case.batch, 1, case.queries, case.keys), bool)
    if case.causal:
        seen &= row >= column
    if case.window:
        seen &= row - column < case.window
    if case.masked:
        seen &= x["mask"].reshape(case.batch, 1, 1, case.keys)
    return seen


def memory(case: Attention, kernel: Kernel, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays for the kernel's slots by name; m, r and D such as a forward pass leaves them."""
    made: dict[str, Any] = {}
    for slot in kernel.slots:
        values = rng.random(slot.size) < 0.7 if slot.dtype is bool_ else rng.standard_normal(slot.size)
        made[slot.name] = values.astype(slot.dtype.numpy)
    if "g" in made:
        known = reference(case, "forward", {n: a for n, a in made.items() if n not in ("m", "r", "D")})
        made["m"], made["r"] = (known[n].astype(np.float32).reshape(-1) for n in ("m", "r"))
        g = made["g"].astype(np.float64).reshape(known["o"].shape)
        made["D"] = (g * known["o"]).sum(-1).astype(np.float32).reshape(-1)
    return made


CASES: dict[str, Attention] = {
    "plain": Attention(),
    "causal": Attention(causal=True),
    "causal, longer keys": Attention(causal=True, queries=9, keys=21),
    "causal, longer queries": Attention(causal=True, queries=21, keys=9, safe=True),
    "window": Attention(causal=True, window=5, queries=40, keys=40),
    "bias": Attention(bias=True, queries=12, keys=20),
    "mask": Attention(masked=True, safe=True),
    "grouped heads": Attention(heads=6, group=3, causal=True),
    "odd sizes": Attention(batch=1, heads=3, queries=37, keys=53, depth=5, width=11),
    "one query": Attention(queries=1, keys=70),
    "one key": Attention(queries=7, keys=1),
    "transposed keys": Attention(queries=20, keys=33, transposed=True),
    "large": Attention(batch=1, heads=2, queries=150, keys=200, depth=64, width=64, causal=True),
    "all masks": Attention(
        heads=4, group=2, queries=50, keys=70, causal=True, window=19, bias=True, masked=True, safe=True
    ),
}


def _mul(s: Any, a: Any, b: Any) -> Any:
    return a * b


def _add(s: Any, a: Any, b: Any) -> Any:
    return a + b


def _sub(s: Any, a: Any, b: Any) -> Any:
    return a - b


def _ge(s: Any, a: Any, b: Any) -> Any:
    return a >= b


def _lt(s: Any, a: Any, b: Any) -> Any:
    return a < b


def _select(s: Any, mask: Any, a: Any, b: Any) -> Any:
    return s.select(mask, a, b)
