"""IR text to objects to addresses."""

import ctypes
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest

from graphc.backends.llvm import library
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.run.runtime import runtime_ir
from graphc.backends.llvm.target import describe, host_target
from graphc.errors import CompileError, UnsupportedError

TWICE = "define i64 @twice(i64 %x) {\n  %y = shl i64 %x, 1\n  ret i64 %y\n}\n"
CALLER = """declare i64 @twice(i64)
define i64 @four(i64 %x) {
  %y = call i64 @twice(i64 %x)
  %z = call i64 @twice(i64 %y)
  ret i64 %z
}
"""


def function(address):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)


def test_objects_of_one_library_see_each_other():
    code = jit.load(jit.compile_objects([CALLER, TWICE], host_target()), ["four", "twice"])
    assert function(code["four"])(5) == 20
    assert sorted(code) == ["four", "twice"] and len(code) == 2


def test_same_symbol_in_two_libraries():
    other = TWICE.replace("shl i64 %x, 1", "shl i64 %x, 2")
    first, second = (jit.load([jit.compile_object(t, host_target())], ["twice"]) for t in (TWICE, other))
    assert (function(first["twice"])(1), function(second["twice"])(1)) == (2, 4)


def test_compiling_is_deterministic():
    assert jit.compile_object(TWICE, host_target()) == jit.compile_object(TWICE, host_target())


def test_threads_make_the_same_objects():
    modules = [TWICE.replace("%x, 1", f"%x, {n % 60}") for n in range(40)]
    alone = jit.compile_objects(modules, host_target())
    assert jit.compile_objects(modules, host_target(), threads=3) == alone
    with pytest.raises(CompileError, match="valid LLVM IR"):
        jit.compile_objects([*modules, "nonsense"], host_target(), threads=3)
    assert jit.compile_objects(modules, host_target(), threads=3) == alone


def test_assembly_is_that_of_the_target():
    arm = describe("aarch64-unknown-linux-gnu", "generic", "+neon")
    assert "lsl\tx0, x0, #1" in jit.emit_assembly(TWICE, arm)
    assert jit.compile_object(TWICE, arm)[18:20] == (183).to_bytes(2, "little")  # ELF's number for AArch64


@pytest.mark.parametrize("text, said", [
    ("define i64 @f(i64 %x) {\n  ret i64 %y\n}", ">   ret i64 %y"),
    ("define i64 @f(i64 %x) {\n  %a = add i64 %b, 1\n  %b = add i64 %a, 1\n  ret i64 %b\n}", "does not dominate"),
])  # fmt: skip
def test_faulty_ir_is_shown(text, said):
    with pytest.raises(CompileError, match="valid LLVM IR") as caught:
        jit.compile_object(text, host_target(), verify=True)
    assert said in str(caught.value)


def test_what_does_not_link_is_an_error():
    for data, said in ((jit.compile_object(CALLER, host_target()), "four"), (b"no object", "object")):
        with pytest.raises(CompileError, match="link") as caught:
            jit.load([data], ["four"])
        assert said in str(caught.value)


def test_runtime_compiles_for_aarch64_and_refuses_others():
    arm = describe("aarch64-unknown-linux-gnu", "generic", "+neon")
    assert b"graphc_call" in jit.compile_object(runtime_ir(arm.triple), arm, verify=True)
    with pytest.raises(UnsupportedError, match="Linux"):
        runtime_ir("x86_64-apple-darwin")


def resident():
    """Kilobytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_loading_gives_its_memory_back():
    code = jit.compile_object(TWICE, host_target())
    kept = [jit.load([code], ["twice"]) for _ in range(3)]

    def load(count):
        for _ in range(count):
            jit.load([code], ["twice"])

    load(4 * jit.LIBRARIES)
    gc.collect()
    before = resident()
    load(16 * jit.LIBRARIES)
    gc.collect()
    assert resident() - before < 16 * jit.LIBRARIES, "not a kilobyte each"
    assert [function(c["twice"])(21) for c in kept] == [42] * 3, "code outlives the linker's generation"


# A Ctrl-C in the middle


@contextmanager
def interrupted(after: bool, number: int) -> Iterator[list[None]]:
    """Raise KeyboardInterrupt in the main thread's so-manieth call of LLVM: before it, or after it. What is given
    counts the calls."""
    calls: list[None] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            mine = threading.current_thread() is threading.main_thread()
            if mine:
                calls.append(None)
            if mine and not after and len(calls) == number:
                raise KeyboardInterrupt
            result = function(*args)
            if mine and after and len(calls) == number:
                raise KeyboardInterrupt
            return result

        return call

    functions = {name: getattr(library.library(), name) for name in library.SIGNATURES}
    vars(library.library()).update({name: watched(function) for name, function in functions.items()})
    try:
        yield calls
    finally:
        vars(library.library()).update(functions)


def others_may_use_llvm() -> bool:
    """Whether another thread can compile, and would get llvmlite's lock."""
    found: list[bool] = []

    def look() -> None:
        lock = llvm.ffi.lib._lock._lock
        found.append(lock.acquire(timeout=5))
        lock.release()
        found.append(b"twice" in jit.compile_object(TWICE, host_target()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(10)
    return found == [True, True]


# One that comes in a finalizer is Python's to ignore, with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_leaves_llvm_to_others(after: bool) -> None:
    """Wherever it comes: compiling, linking, unloading."""
    number, came = 0, True
    while came:
        number += 1
        with interrupted(after, number) as calls:
            try:
                code = jit.load(jit.compile_objects([CALLER, TWICE], host_target(), threads=2), ["four", "twice"])
                assert ".text" in jit.emit_assembly(TWICE, host_target())
                del code
            except KeyboardInterrupt:
                pass
        came = len(calls) >= number
        gc.collect()
        assert others_may_use_llvm(), number
    assert number > 5


# llvmlite's library, without llvmlite's modules


def test_signatures_are_those_of_llvmlite() -> None:
    library.check_signatures()


@pytest.mark.parametrize("name, signature", [
    ("LLJITDispose", (None,)),
    ("GetBufferSize", (ctypes.c_int, ctypes.c_void_p)),
    ("NoSuchFunction", (None,)),
])  # fmt: skip
def test_another_llvmlite_is_refused(name: str, signature: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library.SIGNATURES, name, signature)
    with pytest.raises(UnsupportedError, match=f"llvmlite.*{name}"):
        library.check_signatures()


def test_compiling_imports_no_module_of_llvmlite() -> None:
    code = """
import sys, numpy as np, graphc as gx
assert gx.compile(lambda x: x + 1)(np.zeros(3)).tolist() == [1, 1, 1]
print(*[m for m in sys.modules if m.startswith("llvmlite.binding")])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not run.stdout.split()
