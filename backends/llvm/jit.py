"""LLVM IR text to object files, and object files to addresses in this process.

In: IR text and a target. Out: object bytes, assembly text, or loaded code. Knows llvmlite and nothing of kernels.
No IR passes run: what is invariant is hoisted where the text is written. Code generation at level 1 (0 makes code up
to 7 times slower), without loop strength reduction, which takes a fifth of the time and gains nothing here.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from ctypes import c_int, c_size_t, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from graphc.errors import CompileError
from graphc.locks import keep_through_fork, new_lock

from .lifetime import Hold
from .sharing import shared_map
from .target import Target

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_in_llvm = new_lock()  # LLVM has locks of its own, which a forked child would find taken; and the option below


def compile_object(ir: str, target: Target, *, level: int = 1, verify: bool = False) -> bytes:
    """The object file of one module. `level`: LLVM's code generation level, 0 to 3.
    Raises CompileError with the lines around the fault if the text is no valid IR."""
    return compile_objects([ir], target, level=level, verify=verify)[0]


def compile_objects(
    modules: Sequence[str | Callable[[], str]],
    target: Target,
    *,
    level: int = 1,
    verify: bool = False,
    threads: int = 1,
) -> tuple[bytes, ...]:
    """The object files of several modules, compiled by as many threads, the first ones first. A module is its text, or
    what makes it, which goes on in one thread while another is in LLVM."""

    def compile_one(ir: str | Callable[[], str]) -> bytes:
        text = ir if isinstance(ir, str) else ir()
        with _machine(target, level) as machine, _parsed(text, machine, verify) as module:
            return _emit(machine, module)

    with _in_llvm, _without_strength_reduction():
        return tuple(shared_map(compile_one, modules, threads))


def emit_assembly(ir: str, target: Target, *, level: int = 1) -> str:
    """The assembly text of the code that `compile_object` makes."""
    with _in_llvm, _without_strength_reduction(), _machine(target, level) as machine, _parsed(ir, machine) as module:
        text: str = machine.emit_assembly(module)
    return text


class Code(Mapping[str, int]):
    """Loaded machine code: symbol → address. The memory is given back when the last reference dies."""

    def __init__(self, tracker: llvm.ResourceTracker, symbols: tuple[str, ...]) -> None:
        self._addresses = {s: tracker[s] for s in symbols}
        self._hold = Hold(tracker.close)

    def __getitem__(self, symbol: str) -> int:
        return self._addresses[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)


def load(objects: Iterable[bytes], symbols: Iterable[str]) -> Code:
    """Link object files with each other and with this process (libc, libm) and give the addresses of `symbols`.
    Raises CompileError for a symbol that nothing defines and for bytes that are no object file."""
    import llvmlite.binding as llvm

    names = tuple(symbols)
    with _in_llvm:
        library = llvm.JITLibraryBuilder().add_current_process()
        for data in objects:
            library.add_object_img(data)
        for name in names:
            library.export_symbol(name)
        try:
            number = next(_numbers)
            tracker = library.link(_linker(number // LIBRARIES), f"graphc{number}")
        except RuntimeError as error:
            raise CompileError("the generated code does not link", got=str(error)) from error
        return Code(tracker, names)


_numbers = itertools.count()  # LLVM never takes the name of a library twice
LIBRARIES = 64  # that one linker loads


@lru_cache(maxsize=1)
def _initialize() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    if (lock := getattr(getattr(llvm.ffi.lib, "_lock", None), "_lock", None)) is not None:
        keep_through_fork(lock)  # llvmlite's own, which also others take


@contextmanager
def _machine(target: Target, level: int) -> Iterator[llvm.TargetMachine]:
    """A machine that nobody else has meanwhile: another thread, or a signal handler that compiles too."""
    idle = _idle_machines(target, level)
    try:
        machine = idle.pop()
    except IndexError:
        machine = _new_machine(target, level)
    try:
        yield machine
    finally:
        idle.append(machine)


@lru_cache(maxsize=32)
def _idle_machines(target: Target, level: int) -> list[llvm.TargetMachine]:
    return []


def _new_machine(target: Target, level: int) -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    _initialize()
    found = llvm.Target.from_triple(target.triple)
    # Small and position independent, else every constant is reached through a 64-bit immediate.
    return found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small"
    )


@lru_cache(maxsize=1)
def _linker(generation: int) -> llvm.LLJIT:
    """LLVM keeps 9 KB of each library, also after it was unloaded, for as long as its linker lives: until the last code
    is gone that came through it, and there is a new one."""
    import llvmlite.binding as llvm

    _initialize()
    return llvm.create_lljit_compiler(use_jit_link=True)


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """The module's object file. Unlike llvmlite's `emit_object`, which keeps every other thread out of LLVM meanwhile;
    LLVM itself asks for no more than a context and a target machine that no other thread uses."""
    message = ctypes.c_char_p()
    library = _library()
    buffer = library.LLVMPY_TargetMachineEmitToMemory(machine, module, 1, ctypes.byref(message))
    if not buffer:
        raise CompileError("LLVM can't make machine code of a kernel", got=(message.value or b"").decode())
    try:
        return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer))
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """A second handle of llvmlite's library, whose functions take no lock."""
    from llvmlite.binding import ffi
    from llvmlite.utils import get_library_name

    library = ctypes.CDLL(str(Path(ffi.__file__).with_name(get_library_name())))
    for name, result, *arguments in (
        ("TargetMachineEmitToMemory", c_void_p, ffi.LLVMTargetMachineRef, ffi.LLVMModuleRef, c_int, c_void_p),
        ("GetBufferStart", c_void_p, c_void_p),
        ("GetBufferSize", c_size_t, c_void_p),
        ("DisposeMemoryBuffer", None, c_void_p),
    ):
        function = library[f"LLVMPY_{name}"]
        function.restype, function.argtypes = result, arguments
        setattr(library, f"LLVMPY_{name}", function)
    return library


@contextmanager
def _parsed(ir: str, machine: llvm.TargetMachine, verify: bool = False) -> Iterator[llvm.ModuleRef]:
    """The module of a text, in an LLVM context of its own. Both are closed here, in this order: left to the garbage
    collector, a context may go before its module."""
    import llvmlite.binding as llvm

    text = f'target datalayout = "{machine.target_data}"\ntarget triple = "{machine.triple}"\n{ir}'
    with closing(llvm.create_context()) as context:
        try:
            module = llvm.parse_assembly(text, context)
        except RuntimeError as error:
            raise CompileError("generated code is no valid LLVM IR", got=_window(str(error), text)) from error
        with closing(module):
            if verify:
                _verify(module)
            yield module


def _verify(module: llvm.ModuleRef) -> None:
    try:
        module.verify()
    except RuntimeError as error:
        raise CompileError("generated code is no valid LLVM IR", got=str(error).strip()) from error


def _window(message: str, ir: str) -> str:
    """LLVM's message, and the text around the line that it names."""
    head, _, rest = message.partition("<string>:")
    digits = rest.partition(":")[0]
    if not digits.isdigit():
        return message
    at = int(digits) - 1
    lines = ir.splitlines()
    window = [f"{'>' if n == at else ' '} {lines[n]}" for n in range(max(0, at - 4), min(len(lines), at + 3))]
    return "\n".join([message.strip(), *window])


@contextmanager
def _without_strength_reduction() -> Iterator[None]:
    """The option is the process's, so it is put back for others who use LLVM here (Numba): by the outermost, where a
    signal handler compiles in the middle of a compilation."""
    import llvmlite.binding as llvm

    _depth.append(None)
    llvm.set_option("graphc", "--disable-lsr=true")
    try:
        yield
    finally:
        _depth.pop()
        if not _depth:
            llvm.set_option("graphc", "--disable-lsr=false")


_depth: list[None] = []  # one for each compilation that is under way, all of them of one thread
