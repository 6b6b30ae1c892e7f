"""What this machine offers to graphc, and what each missing thing would bring."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator

from ..dataclass import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. `use`: what it is for, told where it is missing."""

    name: str
    found: str | None
    use: str = ""

    def __str__(self) -> str:
        if self.found is not None:
            return f"  {self.name:<16} {self.found}"
        return f"- {self.name:<16} missing; it would bring {self.use}"


def examine() -> Iterator[Finding]:
    """All findings, one after the other."""
    yield Finding("system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding("Python", sys.version.split()[0])
    yield from _processor()
    yield _package("numpy", "everything")
    yield from _llvm()
    yield _compiler()
    yield from _gpu()
    for package, use in _PACKAGES.items():
        yield _package(package, use)


_PACKAGES = {
    "optree": "nested arguments and results",
    "safetensors": "saved parameters",
    "ml_dtypes": "bfloat16",
    "networkx": "graph.to_networkx()",
    "torch": "a comparison with PyTorch in benchmarks",
    "jax": "a comparison with JAX in benchmarks",
    "onnxruntime": "a comparison with ONNX Runtime in benchmarks",
}


def _package(name: str, use: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, None, use)


def _processor() -> Iterator[Finding]:
    from ..backends.llvm.run.team import usable_threads
    from ..backends.llvm.target import host_target

    target = host_target()
    yield Finding(
        "processor", f"{target.cpu}, {8 * target.vector_bytes}-bit vectors, {target.vector_registers} of them"
    )
    fma = "yes" if target.has_fma else None
    yield Finding("fused multiply-add", fma, "twice the speed in matrix products")
    yield Finding(
        "caches", f"L1 {target.l1 >> 10} KiB, L2 {target.l2 >> 10} KiB, L3 {target.l3 >> 10} KiB a core"
    )
    yield Finding(
        "threads", f"{usable_threads()} usable of {os.cpu_count()} processors (GRAPHC_THREADS limits them)"
    )


def _llvm() -> Iterator[Finding]:
    if importlib.util.find_spec("llvmlite") is None:
        yield Finding("llvmlite", None, "the llvm backend: native code for processors")
        return
    import llvmlite
    import llvmlite.binding as llvm

    version = ".".join(map(str, llvm.llvm_version_info))
    yield Finding("llvmlite", f"{llvmlite.__version__}, with LLVM {version}")


def _compiler() -> Finding:
    """The C compiler that links programs."""
    path = shutil.which(os.environ.get("CC", "cc"))
    if path is None:
        return Finding("C compiler", None, "standalone programs (install gcc or clang)")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return Finding("C compiler", f"{path}: {version.splitlines()[0] if version else 'unknown version'}")


def _gpu() -> Iterator[Finding]:
    yield _package("triton", "the triton backend: source, PTX and cubins for GPUs (extra `gpu`)")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        yield Finding("NVIDIA GPU", None, "runs on a GPU (no driver was found)")
        return
    query = [smi, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    yield Finding("NVIDIA GPU", answer.stdout.strip() or None, "runs on a GPU (the driver does not answer)")
