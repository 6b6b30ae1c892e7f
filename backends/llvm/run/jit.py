"""LLVM IR text to object files, and object files to addresses in this process.

In: IR text and a target. Out: object bytes, assembly text, or loaded code. Knows nothing of kernels.
No IR passes run: what is invariant is hoisted where the text is written. Code generation at level 1 (0 makes code up
to 7 times slower), without loop strength reduction, which takes a fifth of the time and gains nothing here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial

from graphc.locks import new_lock

from .. import library
from ..target import Target
from .lifetime import Hold
from .sharing import shared_map

_in_llvm = new_lock()  # LLVM has locks of its own, which a forked child would find taken; and the option below
_unloading = new_lock()  # the same for what finalizers do, which must not wait for a compilation


QUICK = 0  # the level for code that a call runs a few instructions of: made in a fifth of the time


def compile_object(ir: str, target: Target, *, level: int = 1, verify: bool = False) -> bytes:
    """The object file of one module. `level`: LLVM's code generation level, 0 to 3.
    Raises CompileError with the lines around the fault if the text is no valid IR."""
    return compile_objects([ir], target, level=level, verify=verify)[0]


def compile_objects(
    modules: Sequence[str], target: Target, *, level: int = 1, verify: bool = False, threads: int = 1
) -> tuple[bytes, ...]:
    """The object files of several modules, compiled by as many threads, the first ones first."""
    with generating(target, level=level, verify=verify) as generate:
        return tuple(shared_map(generate, modules, threads))


@contextmanager
def generating(target: Target, *, level: int = 1, verify: bool = False) -> Iterator[Callable[[str], bytes]]:
    """What makes the object file of a module, in any thread: several may be at it at a time."""

    def generate(ir: str) -> bytes:
        with _machine(target, level) as machine:
            return library.machine_code(_header(target) + ir, machine, verify=verify)

    with _in_llvm, _without_strength_reduction():
        yield generate


def emit_assembly(ir: str, target: Target, *, level: int = 1) -> str:
    """The assembly text of the code that `compile_object` makes."""
    with _in_llvm, _without_strength_reduction(), _machine(target, level) as machine:
        return library.machine_code(_header(target) + ir, machine, as_text=True).decode()


class LoadedCode(Mapping[str, int]):
    """Loaded machine code: symbol → address. The memory is given back when the last reference dies."""

    def __init__(self, handle: int, addresses: Mapping[str, int]) -> None:
        self._addresses = addresses
        self._hold = Hold(partial(_ended, library.unload, handle))

    def __getitem__(self, symbol: str) -> int:
        return self._addresses[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)


def load(objects: Iterable[bytes], symbols: Iterable[str]) -> LoadedCode:
    """Link object files with each other and with this process (libc, libm) and give the addresses of `symbols`.
    Raises CompileError for a symbol that nothing defines and for bytes that are no object file."""
    names = tuple(symbols)
    with _in_llvm:
        number = next(_numbers)
        linker = _linker(number // LIBRARIES)
        handle, addresses = library.link(linker.pointer, f"graphc{number}", objects, names)
        return LoadedCode(handle, dict(zip(names, addresses, strict=True)))


_numbers = itertools.count()  # LLVM never takes the name of a library twice
LIBRARIES = 64  # that one linker loads


def _ended(end: Callable[[int], None], pointer: int) -> None:
    with _unloading:
        end(pointer)


class _Linker:
    def __init__(self) -> None:
        self.pointer = library.new_linker()
        self._hold = Hold(partial(_ended, library.close_linker, self.pointer))


@contextmanager
def _machine(target: Target, level: int) -> Iterator[library.Machine]:
    """A machine that nobody else has meanwhile: another thread, or a signal handler that compiles too."""
    idle = _idle_machines(target, level)
    try:
        machine = idle.pop()
    except IndexError:
        machine = library.Machine(*target.key, level)
    try:
        yield machine
    finally:
        idle.append(machine)


@lru_cache(maxsize=32)
def _idle_machines(target: Target, level: int) -> list[library.Machine]:
    return []


@lru_cache(maxsize=32)
def _header(target: Target) -> str:
    """How sizes and alignments are on the target: what a module's text begins with."""
    with _machine(target, 1) as machine:
        return f'target datalayout = "{machine.layout()}"\ntarget triple = "{target.triple}"\n'


@lru_cache(maxsize=1)
def _linker(generation: int) -> _Linker:
    """LLVM keeps 9 KB of each library, also after it was unloaded, for as long as its linker lives: until the last code
    is gone that came through it, and there is a new one."""
    return _Linker()


@contextmanager
def _without_strength_reduction() -> Iterator[None]:
    """The option is the process's, so it is put back for others who use LLVM here (Numba): by the outermost, where a
    signal handler compiles in the middle of a compilation."""
    _depth.append(None)
    library.set_option("--disable-lsr=true")
    try:
        yield
    finally:
        _depth.pop()
        if not _depth:
            library.set_option("--disable-lsr=false")


_depth: list[None] = []  # one for each compilation that is under way, all of them of one thread
