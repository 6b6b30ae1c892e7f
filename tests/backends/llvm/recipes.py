"""Recipes compiled to loops over arrays by the LLVM backend's own emitter."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from graphc.backends.llvm.emit.primitives import Emitter
from graphc.backends.llvm.emit.text import Code, memory_type, module, register_type
from graphc.backends.llvm.run.jit import compile_object, load
from graphc.backends.llvm.target import Target, host_target
from graphc.scalar import Recipe
from graphc.types import bool_, int8


def loop_text(recipe: Recipe, lanes: int, target: Target) -> str:
    """void run(ptr input…, ptr output, i64 n): one result per element; n is a multiple of `lanes`."""
    code = Code()
    emitter = Emitter(code, target, lanes)
    with code.loop(0, "%n", lanes) as loop:
        inputs = []
        for i, dtype in enumerate(recipe.params):
            assert not dtype.is_bool
            address = code.element(f"%p{i}", memory_type(dtype), loop.index)
            inputs.append(
                code.let(f"load {register_type(dtype, lanes)}, ptr {address}, align {dtype.itemsize}")
            )
        (result,) = emitter.recipe(recipe, tuple(inputs))
        memory = recipe.dtype
        if memory is bool_:
            memory = int8
            result = code.let(f"zext {register_type(bool_, lanes)} {result} to {register_type(int8, lanes)}")
        address = code.element("%out", memory_type(memory), loop.index)
        code.do(f"store {register_type(memory, lanes)} {result}, ptr {address}, align {memory.itemsize}")
    code.do("ret void")
    inputs_text = "".join(f"ptr %p{i}, " for i in range(len(recipe.params)))
    return module([code.function(f"void @run({inputs_text}ptr %out, i64 %n)")], code.declarations)


def compiled(
    recipe: Recipe, lanes: int | None = None, target: Target | None = None
) -> Callable[..., np.ndarray]:
    """The recipe as a function of flat arrays, one per parameter. By default whole vectors of this machine."""
    target = target or host_target()
    width = lanes or min(target.lanes(d) for d in recipe.params)
    loaded = load([compile_object(loop_text(recipe, width, target), target)], ["run"])
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(recipe.params) + 1), ctypes.c_int64)
    function = signature(loaded["run"])

    def run(*xs: np.ndarray) -> np.ndarray:
        assert loaded  # keeps the machine code
        n = xs[0].size
        padded = [
            np.concatenate([x, np.ones(-n % width, x.dtype)]).astype(d.numpy)
            for x, d in zip(xs, recipe.params, strict=True)
        ]
        out = np.empty(n + -n % width, recipe.dtype.numpy)
        function(*(x.ctypes.data for x in padded), out.ctypes.data, out.size)
        return out[:n]

    return run
