"""The digits classifier in PyTorch, JAX, ONNX Runtime and NumPy: the same work, for comparison.

Each function takes the parameters (w1 64×128, b1, w2 128×10, b2; float32) and a number of threads, and returns a
`Peer`; it raises `Missing` with the reason where the library can't do it here. Results come back as NumPy arrays.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Parameters = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Missing(Exception):
    """Why a library can't take part."""


@dataclass(frozen=True)
class Peer:
    """`train(x, y)` makes one Adam step on cross-entropy and returns the loss; `predict(x)` returns probabilities."""

    name: str
    predict: Callable[[np.ndarray], np.ndarray]
    train: Callable[[np.ndarray, np.ndarray], float] | None = None
    remark: str = ""


def require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Missing(f"{package} is not installed (it comes with the extra `bench`)")


def pytorch(parameters: Parameters, threads: int, compiled: bool = False) -> Peer:
    require("torch")
    import torch

    torch.set_num_threads(threads)
    w1, b1, w2, b2 = parameters
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    with torch.no_grad():
        for to, value in zip(model.parameters(), (w1.T, b1, w2.T, b2), strict=True):
            to.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    @torch.inference_mode()
    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(model(x), 1)

    if compiled:
        step, forward = torch.compile(step), torch.compile(forward)
    return Peer(
        "torch.compile" if compiled else "PyTorch eager",
        lambda x: forward(torch.from_numpy(x)).numpy(),
        lambda x, y: float(step(torch.from_numpy(x), torch.from_numpy(y)).detach()),
    )


def jax(parameters: Parameters, threads: int) -> Peer:
    require("jax")
    import jax as jx
    import jax.numpy as jnp

    def logits(p, x):
        w1, b1, w2, b2 = p
        return jnp.maximum(x @ w1 + b1, 0) @ w2 + b2

    def loss_of(p, x, y):
        return -jnp.take_along_axis(jx.nn.log_softmax(logits(p, x)), y[:, None], 1).mean()

    def step(p, m, v, t, x, y):
        loss, gradients = jx.value_and_grad(loss_of)(p, x, y)
        t = t + 1
        m = jx.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradients)
        v = jx.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradients)
        rate = 1e-2 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jx.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-8), p, m, v)
        return loss, p, m, v, t

    compiled = jx.jit(step, donate_argnums=(0, 1, 2))
    forward = jx.jit(lambda p, x: jx.nn.softmax(logits(p, x)))
    kept = tuple(jnp.asarray(p) for p in parameters)
    state = [
        tuple(jnp.array(p) for p in parameters),
        *(tuple(jnp.zeros(p.shape) for p in parameters) for _ in "mv"),
    ]
    state.append(jnp.float32(0))

    def train(x: np.ndarray, y: np.ndarray) -> float:
        loss, *state[:] = compiled(*state, x, y)
        return float(loss)

    # XLA has no setting for the number of threads; it takes the processors that the process may use.
    return Peer("JAX", lambda x: np.asarray(forward(kept, x)), train, "threads: all processors")


def onnx_runtime(parameters: Parameters, threads: int) -> Peer:
    require("onnx")
    require("onnxruntime")
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(p, n) for p, n in zip(parameters, ("w1", "b1", "w2", "b2"), strict=True)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])
    p = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [x], [p], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return Peer("ONNX Runtime", lambda x: session.run(None, {"x": x})[0], None, "inference only")


def numpy_(parameters: Parameters, threads: int) -> Peer:
    w1, b1, w2, b2 = parameters

    def predict(x: np.ndarray) -> np.ndarray:
        logits = np.maximum(x @ w1 + b1, 0) @ w2 + b2
        e = np.exp(logits - logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    state = [p.copy() for p in parameters]
    moments = [[np.zeros_like(p) for p in parameters] for _ in range(2)]
    steps = [0]

    def train(x: np.ndarray, y: np.ndarray) -> float:
        w1, b1, w2, b2 = state
        h = x @ w1 + b1
        a = np.maximum(h, 0)
        logits = a @ w2 + b2
        e = np.exp(logits - logits.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        rows = np.arange(len(y))
        loss = -np.log(p[rows, y]).mean()
        p[rows, y] -= 1
        p /= len(y)
        d_h = (p @ w2.T) * (h > 0)
        steps[0] += 1
        rate = np.float32(1e-2 * np.sqrt(1 - 0.999 ** steps[0]) / (1 - 0.9 ** steps[0]))
        for w, m, v, g in zip(state, *moments, (x.T @ d_h, d_h.sum(0), a.T @ p, p.sum(0)), strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            w -= rate * m / (np.sqrt(v) + np.float32(1e-8))
        return float(loss)

    return Peer("NumPy", predict, train, "threads: as OpenBLAS chooses")
