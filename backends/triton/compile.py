"""Compiles sources ahead of time, to PTX and to a cubin: without a GPU, without a driver, without PyTorch.

In: a `KernelSource`. Out: an `Artifact` for each launch, with what it takes of a GPU's resources.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from graphc.dataclass import dataclass
from graphc.errors import CompileError, UnsupportedError

from .launches import KernelSource, Launch, Parameter, Role

DEFAULT_ARCHITECTURE = 90  # Hopper; sm_90


@dataclass(frozen=True)
class Resources:
    """What one program takes: registers a thread, bytes of shared memory, bytes of stack a thread (spills)."""

    registers: int
    shared: int
    stack: int


@dataclass(frozen=True)
class Artifact:
    """A compiled launch. `symbol` is its name in the cubin; it runs with `threads` a program."""

    launch: Launch
    symbol: str
    ptx: str
    cubin: bytes
    threads: int
    resources: Resources


def compile_source(
    source: KernelSource, architecture: int = DEFAULT_ARCHITECTURE, loose: Collection[int] = ()
) -> tuple[Artifact, ...]:
    """Compile every launch of a kernel for NVIDIA's compute capability `architecture`, 90 for sm_90.

    Slots in `loose` may start at any element, the others at multiples of 16 bytes.
    Takes 0.1 to 1.3 s a launch. Raises CompileError with Triton's own text where it refuses the source,
    UnsupportedError where Triton is not installed."""
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            "kernels are compiled for GPUs by Triton, which is not installed",
            got=str(error),
            hint="pip install 'graphc[gpu]', or pip install triton; the stage \"triton\" needs nothing",
        ) from None
    with tempfile.TemporaryDirectory(prefix="graphc-triton-") as folder:
        module = _load(source.text, Path(folder) / "kernel.py")
        return tuple(
            _compile(getattr(module, launch.function), launch, architecture, loose) for launch in source.launches
        )


def _load(text: str, path: Path) -> ModuleType:
    """A source as a module. Triton reads functions back from their file, so there is one."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("graphc_triton_kernel", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(function: Any, launch: Launch, architecture: int, loose: Collection[int]) -> Artifact:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = function.arg_names
    signature = {name: pointer_type(p) for name, p in zip(names, launch.parameters, strict=True)}
    regions = (
        n
        for n, p in enumerate(launch.parameters)
        if p.memory is Role.SCRATCH or (p.memory is Role.SLOT and p.number not in loose)
    )  # statuses lie side by side
    aligned = {(n,): [["tt.divisibility", 16]] for n in regions}
    # Subnormals count, and products are not merged into sums behind a recipe's back.
    options = {
        "num_warps": launch.warps,
        "num_stages": launch.stages,
        "enable_fp_fusion": False,
        "enable_reflect_ftz": False,
    }
    try:
        made = triton.compile(
            ASTSource(fn=function, signature=signature, constexprs={}, attrs=aligned),
            target=GPUTarget("cuda", architecture, 32),
            options=options,
        )
    except Exception as error:  # Triton raises many kinds; each says what it could not compile
        raise CompileError(f"Triton refused the source of {launch.function}", got=str(error)) from error
    if scratch := made.metadata.global_scratch_size:
        raise CompileError(f"{launch.function} wants memory that it is not given", got=f"{scratch} bytes")
    cubin = made.asm["cubin"]
    return Artifact(
        launch, made.metadata.name, made.asm["ptx"], cubin, 32 * made.metadata.num_warps,
        _resources(cubin, made.metadata.shared),
    )  # fmt: skip


_POINTERS = {"bool": "*u8", "float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "float64": "*fp64"}


def pointer_type(parameter: Parameter) -> str:
    """A parameter's type as Triton's signatures spell it."""
    name = parameter.dtype.name
    return _POINTERS.get(name) or f"*{name.replace('uint', 'u').replace('int', 'i')}"


def _resources(cubin: bytes, shared: int) -> Resources:
    """What the cubin's own header says; `shared` is known to Triton alone, being given at the launch."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers, stack, local = (int(_number(key, text)) for key in ("REG", "STACK", "LOCAL"))
    return Resources(registers, shared, stack + local)


def _number(key: str, text: str) -> str:
    found = re.search(rf"\b{key}:(\d+)", text)
    if found is None:
        raise CompileError(f"cuobjdump says nothing of {key}", got=text)
    return found[1]
