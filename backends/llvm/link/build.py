"""Kernels to object files: each distinct one is compiled once, or found in the cache.

In: kernels and calls, the machine. Out: their native forms. Knows neither how they are lowered nor how programs run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.kernel import Call, Kernel, KernelKind, Slot
from graphc.settings import Check, Settings
from graphc.types import as_dtype

from ..emit.kernel_code import NativeKernel, NativeTask
from ..emit.shared import Shared
from ..run import jit
from ..run.cache import ObjectCache, cache_key
from ..run.sharing import shared_map
from ..run.team import usable_threads
from ..target import Target

Work: TypeAlias = Kernel | Call


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel's object file with what is needed to run it, and those of the code that it shares with others, by name.
    Texts are empty where it came from the cache."""

    native: NativeKernel
    code: bytes
    shared: Mapping[str, bytes]


def compile_kernels(
    kernels: Iterable[Work], target: Target, cache: ObjectCache, settings: Settings
) -> dict[Work, CompiledKernel]:
    """Lower and compile each kernel and call that the cache does not hold. Raises UnsupportedError for what can't be
    lowered."""
    kernels = tuple(dict.fromkeys(kernels))
    kept = _Kept(target, cache)
    found = {kernel: compiled for kernel in kernels if (compiled := kept.find(kernel)) is not None}
    fresh = sorted((kernel for kernel in kernels if kernel not in found), key=_lightness)
    if fresh:
        made = _compiled(fresh, kept, settings)
        for kernel in fresh:
            kept.keep(kernel, made[kernel])
        found |= made
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


def _compiled(kernels: Sequence[Work], kept: _Kept, settings: Settings) -> dict[Work, CompiledKernel]:
    """The kernels, lowered and compiled by several threads. What several of them call is made by who comes first."""
    from ..calls import lower_work  # a start that finds all in the cache is spared the code generator

    shared: dict[str, bytes] = {}
    makers: dict[str, Work] = {}

    with jit.generating(kept.target, verify=settings.check is Check.ALL) as generate:

        def compile_one(kernel: Work) -> tuple[NativeKernel, bytes]:
            native = lower_work(kernel, kept.target, symbol_of(kernel))
            code = generate(native.ir)
            for part in native.shared:
                if makers.setdefault(part.name, kernel) is kernel:
                    shared[part.name] = kept.shared(part, generate)
            return native, code

        made = shared_map(compile_one, kernels, settings.threads or usable_threads())
    return {
        kernel: CompiledKernel(native, code, {part.name: shared[part.name] for part in native.shared})
        for kernel, (native, code) in zip(kernels, made, strict=True)
    }


def symbol_of(kernel: Work) -> str:
    """What the functions of a kernel are called, or begin with."""
    return f"kernel_{kernel.digest[:16]}"


class _Kept:
    """Kernels in the cache."""

    def __init__(self, target: Target, cache: ObjectCache) -> None:
        self.target = target
        self._cache = cache

    def find(self, kernel: Work) -> CompiledKernel | None:
        """A kernel, if it is there with all that it calls."""
        payload = self._cache.get(self._key("kernel", kernel.digest))
        if payload is None:
            return None
        native, code = _unpack(payload)
        shared = {part.name: self._cache.get(self._key("shared", part.name)) for part in native.shared}
        found = {name: part for name, part in shared.items() if part is not None}
        return CompiledKernel(native, code, found) if len(found) == len(shared) else None

    def shared(self, part: Shared, generate: Callable[[str], bytes]) -> bytes:
        """The code of a part; made and kept if it is not there."""
        return self._cache.fetch(self._key("shared", part.name), lambda: generate(part.ir))

    def keep(self, kernel: Work, compiled: CompiledKernel) -> None:
        self._cache.put(self._key("kernel", kernel.digest), _pack(compiled))

    def _key(self, kind: str, name: str) -> str:
        return cache_key(kind, name, repr(self.target))  # with the sizes of caches, for which tiles are chosen


def _pack(compiled: CompiledKernel) -> bytes:
    """A line of JSON and the object file."""
    native = compiled.native
    header = {
        "tasks": [vars(t) for t in native.tasks],
        "scratch": [(str(s.dtype), s.size, s.name) for s in native.scratch],
        "plans": native.plans,
        "notes": native.notes,
        "shared": [part.name for part in native.shared],
    }
    return json.dumps(header).encode() + b"\n" + compiled.code


def _unpack(payload: bytes) -> tuple[NativeKernel, bytes]:
    line, _, code = payload.partition(b"\n")
    header = json.loads(line)
    tasks = tuple(NativeTask(**{**t, "slots": tuple(t["slots"])}) for t in header["tasks"])
    scratch = tuple(Slot(as_dtype(d), size, name) for d, size, name in header["scratch"])
    shared = tuple(Shared(name, "") for name in header["shared"])
    return NativeKernel("", tasks, scratch, tuple(header["plans"]), tuple(header["notes"]), shared), code
