"""LLVM's own functions, without llvmlite's objects in between: from IR text to machine code.

llvmlite keeps every other thread out of LLVM meanwhile, although LLVM asks for no more than a context and a target
machine that no other thread uses. And its objects end when Python's do, in any order: after a Ctrl-C at the wrong
moment a module after its context, which ends the process. Here a context is closed once, with all that is in it.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.errors import CompileError

if TYPE_CHECKING:
    import llvmlite.binding as llvm


def machine_code(ir: str, machine: llvm.TargetMachine, *, as_text: bool = False, verify: bool = False) -> bytes:
    """The object file of a module, or its assembly. Raises CompileError with the lines around the fault if the text is
    no valid IR."""
    library = _library()
    message = c_char_p()
    context = library.LLVMPY_ContextCreate()
    try:
        module = library.LLVMPY_ParseAssembly(context, ir.encode(), byref(message))
        if not module:
            raise CompileError("generated code is no valid LLVM IR", got=_window(_text(message), ir))
        if verify and library.LLVMPY_VerifyModule(module, byref(message)):
            raise CompileError("generated code is no valid LLVM IR", got=_text(message))
        buffer = library.LLVMPY_TargetMachineEmitToMemory(machine, module, int(not as_text), byref(message))
        if not buffer:
            raise CompileError("LLVM can't make machine code of a kernel", got=_text(message))
        try:
            return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer))
        finally:
            library.LLVMPY_DisposeMemoryBuffer(buffer)
    finally:
        library.LLVMPY_ContextDispose(context)


def _text(message: c_char_p) -> str:
    return (message.value or b"").decode(errors="replace").strip()


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """A second handle of llvmlite's library, whose functions take no lock."""
    from llvmlite.binding import ffi
    from llvmlite.utils import get_library_name

    library = ctypes.CDLL(str(Path(ffi.__file__).with_name(get_library_name())))
    signatures: tuple[tuple[Any, ...], ...] = (
        ("ContextCreate", c_void_p),
        ("ContextDispose", None, c_void_p),
        ("ParseAssembly", c_void_p, c_void_p, c_char_p, c_void_p),
        ("VerifyModule", c_bool, c_void_p, c_void_p),
        ("TargetMachineEmitToMemory", c_void_p, ffi.LLVMTargetMachineRef, c_void_p, c_int, c_void_p),
        ("GetBufferStart", c_void_p, c_void_p),
        ("GetBufferSize", c_size_t, c_void_p),
        ("DisposeMemoryBuffer", None, c_void_p),
    )
    for name, result, *arguments in signatures:
        function = library[f"LLVMPY_{name}"]
        function.restype, function.argtypes = result, arguments
        setattr(library, f"LLVMPY_{name}", function)
    return library


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
