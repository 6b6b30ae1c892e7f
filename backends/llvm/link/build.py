"""Kernels to object files: each distinct one is compiled once, or found in the cache.

In: kernels and calls, the machine. Out: their native forms. Knows neither how they are lowered nor how programs run.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.kernel import Call, Kernel, KernelKind, Slot
from graphc.settings import Check, Settings
from graphc.types import as_dtype

from ..emit.kernel_code import NativeKernel, NativeTask
from ..run import jit
from ..run.cache import ObjectCache, cache_key
from ..run.team import usable_threads
from ..target import Target

Work: TypeAlias = Kernel | Call


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel's object file with what is needed to run it. `native.ir` is empty where it came from the cache."""

    native: NativeKernel
    code: bytes


def compile_kernels(
    kernels: Iterable[Work], target: Target, cache: ObjectCache, settings: Settings
) -> dict[Work, CompiledKernel]:
    """Lower and compile each kernel and call that the cache does not hold. Raises UnsupportedError for what can't be
    lowered."""
    found: dict[Work, CompiledKernel] = {}
    fresh: dict[Work, str] = {}
    kernels = tuple(dict.fromkeys(kernels))
    for kernel in kernels:
        key = cache_key("kernel", kernel.digest, repr(target))  # with the sizes of caches, for which tiles are chosen
        payload = cache.get(key)
        if payload is not None:
            found[kernel] = _unpack(payload)
        else:
            fresh[kernel] = key
    for kernel, compiled in _compiled(sorted(fresh, key=_lightness), target, settings):
        found[kernel] = compiled
        cache.put(fresh[kernel], _pack(compiled))
    if "cache" in settings.log:
        where = cache.folder or "no folder"
        text = f"{len(found) - len(fresh)} of {len(found)} kernels found in {where}, the others compiled"
        print(f"graphc: cache: {text}", file=sys.stderr)
    return {kernel: found[kernel] for kernel in kernels}


def _lightness(kernel: Work) -> tuple[bool, int]:
    """Sorts kernels so that those come first which take longest to compile, and no thread has to wait for one long."""
    if isinstance(kernel, Call):
        return False, 0
    return kernel.kind is not KernelKind.CONTRACTION, -len(kernel.values)


def _compiled(
    kernels: Sequence[Work], target: Target, settings: Settings
) -> Iterator[tuple[Work, CompiledKernel]]:
    """The kernels, lowered and compiled by several threads."""
    if not kernels:
        return
    from ..calls import lower_work  # a start that finds all in the cache is spared the code generator

    natives: dict[Work, NativeKernel] = {}

    def text(kernel: Work) -> str:
        natives[kernel] = lower_work(kernel, target, symbol_of(kernel))
        return natives[kernel].ir

    verify = settings.check is Check.ALL
    threads = settings.threads or usable_threads()
    modules = [functools.partial(text, kernel) for kernel in kernels]
    objects = jit.compile_objects(modules, target, verify=verify, threads=threads)
    for kernel, code in zip(kernels, objects, strict=True):
        yield kernel, CompiledKernel(natives[kernel], code)


def symbol_of(kernel: Work) -> str:
    """What the functions of a kernel are called, or begin with."""
    return f"kernel_{kernel.digest[:16]}"


def _pack(compiled: CompiledKernel) -> bytes:
    """A line of JSON and the object file."""
    native = compiled.native
    header = {
        "tasks": [vars(t) for t in native.tasks],
        "scratch": [(str(s.dtype), s.size, s.name) for s in native.scratch],
        "plans": native.plans,
        "notes": native.notes,
    }
    return json.dumps(header).encode() + b"\n" + compiled.code


def _unpack(payload: bytes) -> CompiledKernel:
    line, _, code = payload.partition(b"\n")
    header = json.loads(line)
    tasks = tuple(NativeTask(**{**t, "slots": tuple(t["slots"])}) for t in header["tasks"])
    scratch = tuple(Slot(as_dtype(d), size, name) for d, size, name in header["scratch"])
    return CompiledKernel(
        NativeKernel("", tasks, scratch, tuple(header["plans"]), tuple(header["notes"])), code
    )
