"""Products of bfloat16 and of 8-bit integers, next to PyTorch's where installed: GFLOP/s (or GOP/s), and the share of
the peak of instructions that multiply matrices, where the machine has them."""

from __future__ import annotations

import ctypes
import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import ml_dtypes
import numpy as np

import graphc as gx
from graphc.backends.llvm.emit.text import Code, module
from graphc.backends.llvm.products.matrix_tile import configure, release
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import host_target

from .timing import take_turns

SIZES = (1024, 2048)
TILES = 4  # sums that are under way at a time, as in our tiles


def run(threads: int) -> list[dict[str, object]]:
    rng, rows = np.random.default_rng(0), []
    for size in SIZES:
        floats = [rng.standard_normal((size, size)).astype(ml_dtypes.bfloat16) for _ in range(2)]
        signed, unsigned = (
            rng.integers(low, low + 256, (size, size)).astype(t) for t, low in ((np.int8, -128), (np.uint8, 0))
        )
        sums = {"bfloat16 → float32": "tdpbf16ps", "int8 → int32": "tdpbssd", "uint8 · int8 → int32": "tdpbusd"}
        operands = floats, [signed, signed], [unsigned, signed]
        for (name, instruction), (a, b) in zip(sums.items(), operands, strict=True):
            peak = _peak(instruction, threads)
            for library, time_ in _times(name, a, b, threads).items():
                speed = 2 * size**3 / time_ / 1e9
                row = {"product": f"{name}, {size}³", "library": library, "GFLOP/s": speed}
                rows.append({**row, "of peak": None if peak is None else speed / peak})
    return rows


def _times(name: str, a: np.ndarray, b: np.ndarray, threads: int) -> dict[str, float]:
    """Seconds of each library, whose results were compared."""
    dtype = gx.float32 if name.startswith("bfloat16") else gx.int32
    product = gx.compile(lambda x, y: gx.matmul(x, y, dtype=dtype))
    weight = gx.Variable(b)
    by_weight = gx.compile(lambda x: gx.matmul(x, weight, dtype=dtype))
    x, y = gx.asarray(a), gx.asarray(b)
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    for found in (product(x, y), by_weight(x)):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-3 * a.shape[0] ** 0.5)
    candidates: dict[str, Callable[[], object]] = {
        "graphc": partial(product, x, y), "graphc, of a weight": partial(by_weight, x),
    }  # fmt: skip
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        if dtype is gx.float32:
            ta, tb = (torch.from_numpy(z.astype(np.float32)).to(torch.bfloat16) for z in (a, b))
            candidates["PyTorch (to bfloat16)"] = lambda: ta @ tb
        elif a.dtype == b.dtype:
            ia, ib = torch.from_numpy(a), torch.from_numpy(b)
            candidates["PyTorch"] = lambda: torch._int_mm(ia, ib)
    return {n: t.median for n, t in take_turns(candidates, rounds=9, share=0.1).items()}


def _peak(instruction: str, threads: int) -> float | None:
    """GFLOP/s of nothing but such instructions; None where the machine has none."""
    target = host_target()
    if not (target.has_bfloat16_tiles if instruction == "tdpbf16ps" else target.has_integer_tiles):
        return None
    code = Code()
    configure(code)
    for tile in range(8):
        code.call("void", "llvm.x86.tilezero", ("i8", str(tile)))
    with code.loop(0, "%n"):
        for tile in range(TILES):
            registers = [("i8", str(n)) for n in (tile, 4 + tile // 2, 6 + tile % 2)]
            code.call("void", f"llvm.x86.{instruction}", *registers)
    release(code)
    code.do("ret void")
    ir = module([code.function("void @peak(i64 %n)")], code.declarations)
    loaded = jit.load([jit.compile_object(ir, target)], ["peak"])
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64)(loaded["peak"])
    words = 16 * (2 if instruction == "tdpbf16ps" else 4)  # elements along k that an instruction takes

    def speed(passes: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(function, [passes] * threads))
            return threads * passes * TILES * 2 * 16 * 16 * words / (time.perf_counter() - start) / 1e9

    return max(speed(200_000) for _ in range(9))
