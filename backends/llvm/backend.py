"""The llvm backend: schedules to machine code in this process, and calls of it.

In: a `Schedule`. Out: a program; bound to variables' memory, a function on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from graphc.backends.backend import Level, Lowering, Parts, Program, Signature
from graphc.dataclass import dataclass
from graphc.errors import CompileError, GraphcIndexError
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Buffer, Schedule, Space
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import type_of

from .link.build import Work, compile_kernels
from .link.tables import BuiltProgram, Origin, build_program
from .link.views import with_views
from .run import jit
from .run.array_call import NO_MATCH
from .run.beginning import begin, shared
from .run.cache import ObjectCache, cache_folder, cache_key
from .run.instance import Instance, PrepareError, address
from .run.outputs import output_pool
from .ship.parts import from_bytes, take_apart, to_bytes
from .target import Target, host_target


@dataclass(frozen=True)
class LLVMBackend:
    """Compiles for the machine that it runs on."""

    name: str = "llvm"
    level: Level = Level.SCHEDULE

    def build(self, lowered: Graph | Schedule, settings: Settings) -> LLVMProgram:
        if not isinstance(lowered, Schedule):
            raise CompileError("the llvm backend takes a schedule", got=type(lowered).__name__)
        target, cache = host_target(), ObjectCache(cache_folder(settings))
        viewed = with_views(lowered)
        kernels = compile_kernels(viewed.schedule.work, target, cache, settings)
        notes = {k: Lowering(c.native.plans, c.native.notes) for k, c in kernels.items()}
        notes |= {k: notes[new] for k, new in viewed.kernels.items()}
        built = build_program(viewed.schedule, kernels, viewed.windows)
        return LLVMProgram(built, notes, target, cache, settings)

    def refuses(self, kernel: Kernel) -> str:
        from .lower import refusal  # only graphs with attention ask

        return refusal(kernel, host_target())

    def begin(self, settings: Settings) -> None:
        """See `Beginner`."""
        begin(settings)

    def put_together(self, parts: Parts, signature: Signature, settings: Settings) -> LLVMProgram:
        """The program of these parts, if this machine can run it; see `Assembler`."""
        from .ship.assembly import put_together

        host, cache = host_target(), ObjectCache(cache_folder(settings))
        return LLVMProgram(put_together(parts, host, signature), {}, host, cache, settings)

    def keep(self, key: str, program: Program, settings: Settings) -> None:
        """Keep the program in the object cache; see `ProgramCache`."""
        if isinstance(program, LLVMProgram):
            parts = take_apart(program.built, program.target)
            program.cache.put(_program_key(key, program.target), to_bytes(parts))

    def load(self, key: str, signature: Signature, settings: Settings) -> LLVMProgram | None:
        """The program that was kept under the key, with all its kernels."""
        kept = ObjectCache(cache_folder(settings)).get(_program_key(key, host_target()))
        return None if kept is None else self.put_together(from_bytes(kept), signature, settings)


def _program_key(key: str, target: Target) -> str:
    """Folding and planning ask for more than code generation does: NumPy's values, the sizes of caches."""
    return cache_key("program", key, repr(target), np.__version__)


@dataclass(frozen=True, eq=False)
class LLVMProgram:
    """Machine code for a schedule."""

    built: BuiltProgram
    lowered: Mapping[Work, Lowering]
    target: Target
    cache: ObjectCache
    settings: Settings

    def bind(self, variables: Sequence[Storage]) -> BoundLLVMProgram:
        return BoundLLVMProgram(self, tuple(variables))

    def take_apart(self) -> Parts:
        return take_apart(self.built.detached, self.target)

    def link(self, path: Path, variables: Sequence[np.ndarray], outputs: Sequence[str]) -> None:
        """Write a standalone program of a function that updates no variable; prepared work is done here and now.
        Raises UnsupportedError where there is no C compiler."""
        from .link.freeze import freeze
        from .ship.program import link_program

        bound = self.bind([Storage(v, type_of(v)) for v in variables])
        flush = self.settings.flush_subnormals
        settled = freeze(self.built, bound.contents)
        link_program(path, settled, self.target, self.cache, outputs=outputs, flush=flush)


class BoundLLVMProgram:
    """Machine code with its memory. Callers hold the process's call lock; a call that interrupts another one comes
    before it or after it."""

    def __init__(self, program: LLVMProgram, variables: tuple[Storage, ...]) -> None:
        native = program.built.native
        team, calls = shared(program.settings)
        code = jit.load(native.objects.values(), native.symbols)
        self._program = program
        self._team, self._threads = team, team.threads
        self._instance = Instance(
            native, code, team, calls, variables, program.built.updated, program.settings.flush_subnormals
        )
        pool = output_pool()
        self._makers = tuple(pool.maker(b.type) for b in native.in_space(Space.OUTPUT))

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once; see `BoundProgram`."""
        if self._team.threads != self._threads:  # another program's calls want another number
            self._team.resize(self._threads)
        outputs = [make() for make in self._makers]
        try:
            status = self._instance.call([address(a) for a in (*arrays, *outputs)])
        except PrepareError as error:
            raise self._bad_prepare(error) from None
        if status:
            self._fail(status)
        return outputs

    def try_call(self, objects: Sequence[object]) -> list[np.ndarray] | None:
        """Run once if the objects are NumPy arrays just as the inputs' types say, else None; see `ObjectCalls`."""
        if self._team.threads != self._threads:
            return None
        outputs = [make() for make in self._makers]
        try:
            status = self._instance.call_arrays((*objects, *outputs))
        except PrepareError as error:
            raise self._bad_prepare(error) from None
        if status:
            if status == NO_MATCH:
                return None
            self._fail(status)
        return outputs

    def step_seconds(self, arrays: Sequence[np.ndarray], seconds: float, *, flush: bool = False) -> list[float]:
        """How long each step takes, after a call; see `Timed`."""
        outputs = self(arrays)  # alive until all is measured
        found = self._instance.step_seconds(self._program.built.steps, seconds, flush)
        del outputs
        return found

    def contents(self, buffer: Buffer) -> np.ndarray:
        """A copy of a invariant buffer's contents, as a call would find them."""
        try:
            return self._instance.contents(buffer)
        except PrepareError as error:
            raise self._bad_prepare(error) from None

    def _bad_prepare(self, error: PrepareError) -> GraphcIndexError:
        origin = self._program.built.prepare_origins[error.args[0] - 1]
        return _bad_index(self._instance.bad_prepare_index, origin)

    def _fail(self, status: int) -> None:
        """A gather met a bad index: say where it was traced. No variable has changed."""
        origin = self._program.built.origins[status - 1]
        raise _bad_index(self._instance.bad_index, origin)


def _bad_index(index: int, origin: Origin) -> GraphcIndexError:
    """Kernels see indices as the frontend has made them: negative ones counted from the start already."""
    hint = "an index that is negative still lies before the start; of class numbers, ignore_index= leaves one out"
    return GraphcIndexError(
        "an index, or a class number, is outside its axis",
        got=str(index),
        where=origin.where,
        hint=hint if index < 0 else None,
    )
