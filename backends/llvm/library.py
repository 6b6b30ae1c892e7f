"""LLVM's own functions, in the library that llvmlite ships: from IR text to machine code, and from that to addresses.

llvmlite's modules take longer to import than LLVM takes for a kernel. Its lock keeps every other thread out of LLVM,
although LLVM asks for no more than a context and a target machine that no other thread uses; a Ctrl-C between two of
the steps that take it leaves it taken for good. And llvmlite's objects end when Python's do, in any order. So none of
them is used: each function here opens what it needs and closes it, once.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_uint64, c_void_p
from typing import Any, Final

from graphc.errors import CompileError, UnsupportedError
from graphc.locks import new_lock

# Name → what it gives, what it takes. Texts that come back through a pointer are LLVM's to free.
SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "GetVersionInfo": (c_uint,),
    "DisposeString": (None, c_void_p),
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargets": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllAsmPrinters": (None,),
    "SetCommandLine": (None, c_char_p, c_char_p),
    "GetProcessTriple": (None, c_void_p),
    "GetHostCPUName": (None, c_void_p),
    "GetHostCPUFeatures": (c_int, c_void_p),
    "GetTargetFromTriple": (c_void_p, c_char_p, c_void_p),
    "CreateTargetMachine": (
        c_void_p, c_void_p, c_char_p, c_char_p, c_char_p, c_int, c_char_p, c_char_p, c_int, c_int, c_char_p,
    ),
    "CreateTargetMachineData": (c_void_p, c_void_p),
    "CopyStringRepOfTargetData": (None, c_void_p, c_void_p),
    "DisposeTargetData": (None, c_void_p),
    "ContextCreate": (c_void_p,),
    "ContextDispose": (None, c_void_p),
    "ParseAssembly": (c_void_p, c_void_p, c_char_p, c_void_p),
    "VerifyModule": (c_bool, c_void_p, c_void_p),
    "TargetMachineEmitToMemory": (c_void_p, c_void_p, c_void_p, c_int, c_void_p),
    "GetBufferStart": (c_void_p, c_void_p),
    "GetBufferSize": (c_size_t, c_void_p),
    "DisposeMemoryBuffer": (None, c_void_p),
    "CreateLLJITCompiler": (c_void_p, c_void_p, c_bool, c_bool, c_void_p),
    "LLJITDispose": (None, c_void_p),
    "LLJIT_Link": (
        c_void_p, c_void_p, c_char_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p,
    ),
    "LLJIT_Dylib_Tracker_Dispose": (c_bool, c_void_p, c_void_p),
}  # fmt: skip

# What takes long, and lets other threads have Python meanwhile. To get it back from a thread that does not wait for
# anything takes 5 ms, so all others keep it.
LONG: Final = frozenset({"TargetMachineEmitToMemory", "LLJIT_Link", "LLJIT_Dylib_Tracker_Dispose"})


class _Library:
    """The functions, by their names in `SIGNATURES`."""

    def __init__(self, path: str) -> None:
        _open_beside_others(path)
        shared, keeping = ctypes.CDLL(path), ctypes.PyDLL(path)
        for name, (result, *arguments) in SIGNATURES.items():
            function = (shared if name in LONG else keeping)[f"LLVMPY_{name}"]
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:  # for mypy
        raise AttributeError(name)


def library() -> _Library:
    """The library, ready for use."""
    if not _library:
        with opening:
            if not _library:
                _library.append(_open())
    return _library[0]


_library: list[_Library] = []
opening = new_lock()  # before all others of LLVM's: `beginning` takes them while it has it


def _open() -> _Library:
    import llvmlite
    from llvmlite.utils import get_library_name

    if not llvmlite.__version__.startswith(KNOWN):
        check_signatures()
    found = _Library(os.path.join(os.path.dirname(llvmlite.__file__), "binding", get_library_name()))
    with _alone_in_llvmlite():
        for name in ("AllTargetInfos", "AllTargets", "AllTargetMCs", "AllAsmPrinters"):
            getattr(found, f"Initialize{name}")()
    return found


KNOWN: Final = "0.50."  # versions of llvmlite whose functions are as `SIGNATURES` says


def check_signatures() -> None:
    """Raise UnsupportedError unless the functions are as `SIGNATURES` says, according to llvmlite itself."""
    import llvmlite.binding as llvm

    for name, signature in SIGNATURES.items():
        theirs = getattr(llvm.ffi.lib, f"LLVMPY_{name}", None)
        if theirs is None or not _agree(signature, theirs):
            raise UnsupportedError(
                "this version of llvmlite is not known", got=f"llvmlite {_llvmlite_version()}, {name} differs",
                hint=f"install llvmlite {KNOWN}*",
            )  # fmt: skip


def _agree(signature: tuple[Any, ...], theirs: Any) -> bool:
    """Whether a function of llvmlite's takes and gives as much; it declares neither nothing nor always all."""
    result, *arguments = signature
    gives = result is None or ctypes.sizeof(theirs.restype) == ctypes.sizeof(result)
    takes = theirs.argtypes is None or [*map(ctypes.sizeof, theirs.argtypes)] == [*map(ctypes.sizeof, arguments)]
    return gives and takes


def _llvmlite_version() -> str:
    import llvmlite

    found: str = llvmlite.__version__
    return found


def _open_beside_others(path: str) -> None:
    """Load the library, which takes 5 ms, while other threads have Python: ctypes itself would keep it."""
    process = ctypes.CDLL(None)
    if (function := getattr(process, "dlopen", None)) is not None:
        function.restype, function.argtypes = c_void_p, (c_char_p, c_int)
        function(os.fsencode(path), os.RTLD_NOW)  # never closed; what fails fails again, with a message


@contextmanager
def _alone_in_llvmlite() -> Iterator[None]:
    """For LLVM's list of targets, which has no lock: nobody else enters them, if llvmlite is used in this process."""
    ffi = sys.modules.get("llvmlite.binding.ffi")
    lock = getattr(getattr(getattr(ffi, "lib", None), "_lock", None), "_lock", None)
    if lock is None:
        yield
    else:
        with lock:
            yield


def version() -> tuple[str, int]:
    """llvmlite's version, and LLVM's as a number."""
    return _llvmlite_version(), library().GetVersionInfo()


def set_option(option: str) -> None:
    """Set one of LLVM's options, for the whole process."""
    library().SetCommandLine(b"graphc", option.encode())


def host() -> tuple[str, str, dict[str, bool]]:
    """LLVM's words for this machine: its triple, its processor, and which features that has."""
    message = c_char_p()
    found = []
    for name in ("GetProcessTriple", "GetHostCPUName", "GetHostCPUFeatures"):
        getattr(library(), name)(byref(message))
        found.append(_taken(message))
    triple, processor, features = found
    return triple, processor, {f[1:]: f[0] == "+" for f in features.split(",") if f}


class Machine:
    """A code generator for a target, for one thread at a time. It lives as long as the process."""

    def __init__(self, triple: str, cpu: str, features: str, level: int) -> None:
        """Raises CompileError for a target that this LLVM does not know."""
        message = c_char_p()
        target = library().GetTargetFromTriple(triple.encode(), byref(message))
        if not target:
            raise CompileError(f"LLVM can't make machine code for {triple}", got=_taken(message))
        # Small and position independent, else every constant is reached through a 64-bit immediate.
        self.pointer = library().CreateTargetMachine(
            target, triple.encode(), cpu.encode(), features.encode(), level, b"pic", b"small", 0, 0, b""
        )
        if not self.pointer:
            raise CompileError(f"LLVM can't make machine code for {cpu}", got=triple)

    def layout(self) -> str:
        """How sizes and alignments are, as LLVM writes it."""
        message = c_char_p()
        data = library().CreateTargetMachineData(self.pointer)
        library().CopyStringRepOfTargetData(data, byref(message))
        library().DisposeTargetData(data)
        return _taken(message)


def machine_code(ir: str, machine: Machine, *, as_text: bool = False, verify: bool = False) -> bytes:
    """The object file of a module, or its assembly. Raises CompileError with the lines around the fault if the text is
    no valid IR."""
    llvm = library()
    message = c_char_p()
    context = llvm.ContextCreate()
    try:
        module = llvm.ParseAssembly(context, ir.encode(), byref(message))
        if not module:
            raise CompileError("generated code is no valid LLVM IR", got=_window(_taken(message), ir))
        if verify and llvm.VerifyModule(module, byref(message)):
            raise CompileError("generated code is no valid LLVM IR", got=_taken(message))
        buffer = llvm.TargetMachineEmitToMemory(machine.pointer, module, int(not as_text), byref(message))
        if not buffer:
            raise CompileError("LLVM can't make machine code of a kernel", got=_taken(message))
        try:
            return ctypes.string_at(llvm.GetBufferStart(buffer), llvm.GetBufferSize(buffer))
        finally:
            llvm.DisposeMemoryBuffer(buffer)
    finally:
        llvm.ContextDispose(context)  # with the module


class _Element(ctypes.Structure):
    """A part of what is linked."""

    _fields_ = (("kind", c_uint8), ("value", c_char_p), ("size", c_size_t))


OBJECT, PROCESS = 2, 3  # kinds of elements


class _Symbol(ctypes.Structure):
    _fields_ = (("name", c_char_p), ("address", c_uint64))


def new_linker() -> int:
    """Links object files into this process. For `close_linker`."""
    message = c_char_p()
    linker: int | None = library().CreateLLJITCompiler(None, False, True, byref(message))
    if not linker:
        raise CompileError("LLVM can't load code into this process", got=_taken(message))
    return linker


def close_linker(linker: int) -> None:
    """What it has linked stays."""
    library().LLJITDispose(linker)


def link(linker: int, name: str, objects: Iterable[bytes], symbols: Sequence[str]) -> tuple[int, list[int]]:
    """Load object files, linked with each other and with this process. Gives a handle for `unload`, and the symbols'
    addresses. `name` is used once for each linker. Raises CompileError for a symbol that nothing defines and for bytes
    that are no object file."""
    parts = [_Element(PROCESS, b"", 0), *(_Element(OBJECT, data, len(data)) for data in objects)]
    elements = (_Element * len(parts))(*parts)
    exports = (_Symbol * len(symbols))(*(_Symbol(s.encode()) for s in symbols))
    message = c_char_p()
    handle: int | None = library().LLJIT_Link(
        linker, name.encode(), elements, len(parts), None, 0, exports, len(symbols), byref(message)
    )
    if not handle:
        raise CompileError("the generated code does not link", got=_taken(message))
    return handle, [symbol.address for symbol in exports]


def unload(handle: int) -> None:
    """Give the memory of loaded code back. Nothing of it may be running."""
    message = c_char_p()
    if library().LLJIT_Dylib_Tracker_Dispose(handle, byref(message)):
        raise CompileError("code can't be unloaded", got=_taken(message))


def _taken(message: c_char_p) -> str:
    """A text that LLVM has made, which is given back to it."""
    text = (message.value or b"").decode(errors="replace").strip()
    if message:
        library().DisposeString(message)
        message.value = None
    return text


def _window(message: str, ir: str) -> str:
    """LLVM's message, and the text around the line that it names."""
    head, _, rest = message.partition("<string>:")
    digits = rest.partition(":")[0]
    if not digits.isdigit():
        return message
    at = int(digits) - 1
    lines = ir.splitlines()
    window = [f"{'>' if n == at else ' '} {lines[n]}" for n in range(max(0, at - 4), min(len(lines), at + 3))]
    return "\n".join([message, *window])
