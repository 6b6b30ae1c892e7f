"""IR text to objects to addresses."""

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graphc.backends.llvm import jit
from graphc.backends.llvm.llvm_calls import llvmlite_lock
from graphc.backends.llvm.runtime import runtime_ir
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


# A Ctrl-C in the middle of llvmlite


@contextmanager
def interrupted_in_llvmlite(side: int, number: int) -> Iterator[list[None]]:
    """Raise KeyboardInterrupt in the main thread's so-manieth call of llvmlite: after it takes its lock, or before
    it would give it back. What is given counts the calls."""
    from llvmlite.binding.ffi import register_lock_callback, unregister_lock_callback

    calls: list[None] = []

    def interrupt() -> None:
        if threading.current_thread() is threading.main_thread():
            calls.append(None)
            if len(calls) == number:
                raise KeyboardInterrupt

    hooks: list[Callable[[], None]] = [lambda: None, lambda: None]
    hooks[side] = interrupt
    register_lock_callback(*hooks)
    try:
        yield calls
    finally:
        unregister_lock_callback(*hooks)


def others_may_use_llvm() -> bool:
    """Whether another thread would get llvmlite's lock."""
    found: list[bool] = []

    def look() -> None:
        lock = llvmlite_lock()
        found.append(lock is None or lock.acquire(timeout=5))
        if lock is not None and found[0]:
            lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


# One that comes in a finalizer is Python's to ignore, with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("side", [0, 1])
def test_an_interrupt_leaves_llvm_to_others(side: int) -> None:
    """Whatever call of llvmlite it comes in: compiling, linking, unloading."""
    number, came = 0, True
    while came:
        number += 1
        with interrupted_in_llvmlite(side, number) as calls:
            try:
                code = jit.load(jit.compile_objects([CALLER, TWICE], host_target(), threads=2), ["four", "twice"])
                assert ".text" in jit.emit_assembly(TWICE, host_target())
                del code
            except KeyboardInterrupt:
                pass
        came = len(calls) >= number
        gc.collect()
        assert others_may_use_llvm(), number
    assert number > 3
