"""Graphs that several tests run: built from ops directly, with random inputs and their meaning in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import ops
from graphc.ir import Graph, Literal, Node
from graphc.types import DType, TensorType, bool_, float32, int64


def source(shape: tuple[int, ...], dtype: DType = float32, name: str = "x") -> Node:
    return ops.input(type=TensorType(dtype, shape), name=name)


def variable(shape: tuple[int, ...], dtype: DType = float32, name: str = "w") -> Node:
    return ops.variable(type=TensorType(dtype, shape), name=name)


def number(value: float, like: Node) -> Node:
    """A constant spread to the shape of another node."""
    scalar = ops.constant(value=Literal(np.array(value, like.dtype.numpy)))
    return ops.broadcast(scalar, shape=like.shape, dims=())


def spread(x: Node, like: Node, *missing: int) -> Node:
    """Repeat x along the axes that it lacks."""
    return ops.broadcast(
        x, shape=like.shape, dims=tuple(d for d in range(len(like.shape)) if d not in missing)
    )


def scaled(x: Node, factor: float) -> Node:
    return ops.multiply(x, number(factor, x))


def softmax(x: Node, axis: int) -> Node:
    e = ops.exp(ops.subtract(x, spread(ops.max(x, axes=(axis,)), x, axis)))
    return ops.divide(e, spread(ops.sum(e, axes=(axis,)), x, axis))


def normalized(x: Node) -> tuple[Node, Node]:
    """Layer norm over the last axis of a matrix, without scale: the normalized rows and 1/σ of each."""
    columns = x.shape[1]
    centred = ops.subtract(x, spread(scaled(ops.sum(x, axes=(1,)), 1 / columns), x, 1))
    variance = scaled(ops.sum(ops.multiply(centred, centred), axes=(1,)), 1 / columns)
    inverse = ops.rsqrt(ops.add(variance, number(1e-5, variance)))
    return ops.multiply(centred, spread(inverse, x, 1)), inverse


def layer_norm(x: Node, scale: Node, shift: Node) -> Node:
    rows, _ = normalized(x)
    return ops.add(ops.multiply(rows, spread(scale, x, 0)), spread(shift, x, 0))


def layer_norm_gradient(x: Node, scale: Node, g: Node) -> tuple[Node, Node, Node]:
    """Gradients for x, scale and shift."""
    rows, inverse = normalized(x)
    gy = ops.multiply(g, spread(scale, x, 0))
    first = spread(scaled(ops.sum(gy, axes=(1,)), 1 / x.shape[1]), x, 1)
    second = spread(scaled(ops.sum(ops.multiply(gy, rows), axes=(1,)), 1 / x.shape[1]), x, 1)
    inner = ops.subtract(ops.subtract(gy, first), ops.multiply(rows, second))
    return (
        ops.multiply(spread(inverse, x, 1), inner),
        ops.sum(ops.multiply(g, rows), axes=(0,)),
        ops.sum(g, axes=(0,)),
    )


def gelu(x: Node) -> Node:
    cube = ops.multiply(ops.multiply(x, x), x)
    inner = scaled(ops.add(x, scaled(cube, 0.044715)), 0.7978845608)
    return ops.multiply(scaled(x, 0.5), ops.add(ops.tanh(inner), number(1.0, x)))


def matmul(a: Node, b: Node) -> Node:
    """a @ b over the last two axes, leading axes equal."""
    n = len(a.shape)
    lead = tuple(range(n - 2))
    return ops.dot_general(a, b, contract=((n - 1,), (n - 2,)), batch=(lead, lead))


def transposed(x: Node) -> Node:
    n = len(x.shape)
    return ops.permute(x, axes=(*range(n - 2), n - 1, n - 2))


def graph(inputs: Sequence[Node], outputs: Sequence[Node]) -> Graph:
    return Graph(tuple(inputs), (), (), tuple(outputs))


def mlp_step(batch: int = 32, features: int = 20, hidden: int = 24, classes: int = 10) -> Graph:
    """A classifier's training step: cross-entropy, its gradient written out, momentum updates."""
    x, labels = source((batch, features)), source((batch,), int64, "labels")
    w1, b1 = variable((features, hidden), name="w1"), variable((hidden,), name="b1")
    w2, b2 = variable((hidden, classes), name="w2"), variable((classes,), name="b2")
    rate = variable((), name="rate")
    h = matmul(x, w1)
    h = ops.add(h, spread(b1, h, 0))
    a = ops.maximum(h, number(0.0, h))
    logits = matmul(a, w2)
    logits = ops.add(logits, spread(b2, logits, 0))
    shifted = ops.subtract(logits, spread(ops.max(logits, axes=(1,)), logits, 1))
    total = ops.sum(ops.exp(shifted), axes=(1,))
    log_p = ops.subtract(shifted, spread(ops.log(total), logits, 1))
    loss = scaled(ops.sum(ops.pick(log_p, labels), axes=(0,)), -1 / batch)
    positions = ops.iota(type=logits.tensor_type.with_dtype(int64), axis=1)
    hot = ops.cast(ops.equal(positions, spread(labels, logits, 1)), dtype=float32)
    d_logits = scaled(ops.subtract(ops.exp(log_p), hot), 1 / batch)
    d_a = matmul(d_logits, transposed(w2))
    d_h = ops.select(ops.greater(h, number(0.0, h)), d_a, number(0.0, h))
    gradients = {
        w1: matmul(transposed(x), d_h), b1: ops.sum(d_h, axes=(0,)),
        w2: matmul(transposed(a), d_logits), b2: ops.sum(d_logits, axes=(0,)),
    }  # fmt: skip
    variables: list[Node] = [rate]
    updates: list[Node | None] = [None]
    for w, g in gradients.items():
        momentum = variable(w.shape, name=f"m_{w.attrs['name']}")
        new = ops.add(scaled(momentum, 0.9), g)
        step = ops.multiply(ops.broadcast(rate, shape=w.shape, dims=()), new)
        variables += [w, momentum]
        updates += [ops.subtract(w, step), new]
    return Graph((x, labels), tuple(variables), tuple(updates), (loss,))


def samples() -> dict[str, Graph]:
    """Named graphs that together use every kind of kernel."""
    result: dict[str, Graph] = {}
    x = source((37, 19))
    result["softmax"] = graph([x], [softmax(x, 1)])
    result["column softmax"] = graph([x], [softmax(x, 0)])
    x, scale, shift, g = source((33, 24)), source((24,)), source((24,)), source((33, 24))
    result["layer norm"] = graph([x, scale, shift], [layer_norm(x, scale, shift)])
    result["layer norm gradient"] = graph([x, scale, g], layer_norm_gradient(x, scale, g))
    x, y = source((48, 32)), source((32, 48))
    result["transposed sum"] = graph([x, y], [ops.sum(ops.add(x, transposed(y)), axes=(1,))])
    result["column sum"] = graph([x], [ops.sum(x, axes=(0,))])
    result["full sum"] = graph([x], [ops.sum(x, axes=(0, 1)), ops.max(x, axes=(0, 1))])
    x = source((37, 45))
    running = ops.cumulative_sum(ops.exp(x), axis=1)
    result["running share"] = graph([x], [ops.divide(running, spread(ops.max(running, axes=(1,)), x, 1))])
    a, x = source((90, 21)), source((90, 21))
    recurrence = ops.linear_recurrence(ops.flip(a, axes=(0,)), ops.flip(x, axes=(0,)), axis=0)
    result["recurrence from the end"] = graph([a, x], [ops.flip(recurrence, axes=(0,))])
    x = source((4, 6, 5))
    result["several axes"] = graph([x], [ops.sum(x, axes=(0, 2)), ops.argmax(x, axes=(1,))])
    x = source((2, 16, 96))
    heads = ops.permute(ops.reshape(scaled(x, 2.0), shape=(2, 16, 6, 16)), axes=(0, 2, 1, 3))
    result["heads"] = graph([x], [heads])
    x = source((8, 8, 16))
    rows = ops.reshape(scaled(x, 2.0), shape=(8, 4, 32))
    result["across a reshape"] = graph([x], [ops.subtract(rows, spread(ops.sum(rows, axes=(2,)), rows, 2))])
    a, b, c = source((30, 60)), source((16, 64)), source((20, 70))
    fill = ops.constant(value=Literal(np.array(1.5, np.float32)))
    padded = ops.pad(a, fill, low=(1, 2), high=(1, 2))
    cut = ops.slice(c, start=(2, 3), stop=(18, 67), step=(1, 1))
    result["pad, concat, slice"] = graph([a, b, c], [ops.add(padded, ops.concat(b, cut, axis=0))])
    x, i = source((10, 12)), source((7,), int64, "index")
    result["gather"] = graph([x, i], [scaled(ops.gather(x, i, axes=(0,)), 2.0)])
    u = source((7, 12))
    result["scatter"] = graph([x, u, i], [ops.scatter_add(x, scaled(u, 3.0), i, axes=(0,))])
    x, w, bias = source((30, 70)), source((40, 70)), source((40,))
    h = matmul(x, transposed(w))
    result["matmul with gelu"] = graph([x, w, bias], [gelu(ops.add(h, spread(bias, h, 0)))])
    x, w = source((3, 9, 5)), source((3, 5, 7))
    result["batched matmul"] = graph([x, w], [scaled(matmul(x, w), 0.5)])
    x = source((5, 7))
    mask = ops.greater(x, number(0.0, x))
    result["flip and mask"] = graph([x], [ops.flip(ops.select(mask, x, number(-1.0, x)), axes=(1,)), mask])
    result["any, all"] = graph([x], [ops.any(mask, axes=(0,)), ops.all(mask, axes=(1,))])
    result["mlp step"] = mlp_step()
    return result


def random_array(type_: TensorType, rng: np.random.Generator, high: int = 7) -> np.ndarray:
    """Numbers that suit a dtype; integers are valid indices below `high`."""
    if type_.dtype is bool_:
        return np.asarray(rng.random(type_.shape) < 0.5)
    if type_.dtype.is_integer:
        return rng.integers(0, high, type_.shape).astype(type_.dtype.numpy)
    return rng.standard_normal(type_.shape).astype(type_.dtype.numpy)


def random_arrays(graph: Graph, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Arrays for the inputs and the variables."""
    rng = np.random.default_rng(seed)
    return tuple(
        [random_array(n.tensor_type, rng) for n in nodes] for nodes in (graph.inputs, graph.variables)
    )  # type: ignore[return-value]


def evaluate(
    graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray] = ()
) -> list[np.ndarray]:
    """The graph's results (outputs, then updates) by each op's reference."""
    known = dict(zip((*graph.inputs, *graph.variables), (*inputs, *variables), strict=True))
    for node in graph.nodes:
        if node not in known:
            assert node.op.reference is not None
            known[node] = node.op.reference(*(known[i] for i in node.inputs), **node.attrs)
    return [known[n] for n in graph.results]
