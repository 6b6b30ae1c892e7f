"""float32 matrix products against the machine's multiply-add peak, and against the libraries that are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np

import graphc as gx

from .machine import Peak
from .timing import take_turns

SIZE = 1024


def run(threads: int) -> list[dict[str, object]]:
    """A row for each candidate: GFLOP/s (median) and the share of the peak, measured in the same run."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    bias = rng.standard_normal(SIZE, np.float32)
    wanted = a @ b
    peak = Peak()
    before = peak.best(threads)
    candidates = _candidates(a, b, bias, wanted, threads)
    times = take_turns(candidates, rounds=15, share=0.1)
    top = max(before, peak.best(threads))
    rows: list[dict[str, object]] = [{"candidate": "peak (measured)", "GFLOP/s": top, "of peak": 1.0}]
    for name, time in times.items():
        speed = 2 * SIZE**3 / time.median / 1e9
        rows.append({"candidate": name, "GFLOP/s": speed, "of peak": speed / top})
    return rows


def _candidates(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray, wanted: np.ndarray, threads: int
) -> dict[str, Callable[[], object]]:
    forms = {
        "graphc a @ b": (lambda x, y, z: x @ y, (a, b)),
        "graphc gelu(a @ b + bias)": (_gelu, (a, b)),
        "graphc aᵀ @ b": (lambda x, y, z: gx.matrix_transpose(x) @ y, (np.ascontiguousarray(a.T), b)),
        "graphc a @ bᵀ": (lambda x, y, z: x @ gx.matrix_transpose(y), (a, np.ascontiguousarray(b.T))),
    }
    found: dict[str, Callable[[], object]] = {}
    for name, (function, operands) in forms.items():
        compiled = gx.compile(function)
        tensors = [gx.asarray(x) for x in (*operands, bias)]
        if "gelu" not in name:
            np.testing.assert_allclose(compiled(*tensors).numpy(), wanted, rtol=1e-3, atol=1e-3)
        found[name] = partial(compiled, *tensors)
    found["NumPy"] = lambda: a @ b
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        found["PyTorch"] = lambda: ta @ tb
    if importlib.util.find_spec("jax"):
        import jax

        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        product = jax.jit(lambda x, y: jax.numpy.matmul(x, y, precision="highest"))
        found["JAX"] = lambda: product(ja, jb).block_until_ready()
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found["ONNX Runtime"] = _onnx(a, b, threads)
    return found


def _gelu(x: gx.Tensor, y: gx.Tensor, z: gx.Tensor) -> gx.Tensor:
    h = x @ y + z
    return 0.5 * h * (1 + gx.tanh(0.7978845608 * (h + 0.044715 * h * h * h)))


def _onnx(a: np.ndarray, b: np.ndarray, threads: int) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    types = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [SIZE, SIZE]) for n in "abc"]
    model = helper.make_model(
        helper.make_graph([node], "matmul", types[:2], types[2:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a, "b": b})
