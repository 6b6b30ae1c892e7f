"""Whether a thread takes subnormal floats for 0: a register of the processor, set around a call that asks for it.

In: the processor. Out: the text of two functions. As long as nobody asks, a call reads one flag more.

    enter_mode(context) -> what the register held, or −1 where the context does not ask
    leave_mode(that): as it was
"""

from __future__ import annotations

from typing import Protocol

from ..emit.text import Code
from ..native import Context, ContextFlags


class Mode(Protocol):
    """The register of a processor."""

    declarations: str

    def read(self, code: Code) -> str:
        """What it holds, an i64."""

    def flush(self, code: Code, old: str) -> str:
        """The same, but so that subnormal numbers are 0."""

    def write(self, code: Code, value: str) -> None: ...


class X86Mode:
    """MXCSR: bit 15 makes results 0, bit 6 operands."""

    declarations = "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)"

    def read(self, code: Code) -> str:
        memory = code.alloca("i32", 1, 4)
        code.do(f"call void @llvm.x86.sse.stmxcsr(ptr {memory})")
        return code.let(f"zext i32 {code.let(f'load i32, ptr {memory}')} to i64")

    def flush(self, code: Code, old: str) -> str:
        return code.let(f"or i64 {old}, {1 << 15 | 1 << 6}")

    def write(self, code: Code, value: str) -> None:
        memory = code.alloca("i32", 1, 4)
        code.do(f"store i32 {code.let(f'trunc i64 {value} to i32')}, ptr {memory}")
        code.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {memory})")


class ArmMode:
    """FPCR: bit 24 is for both, of float32 and float64, bit 19 of float16."""

    declarations = "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)"

    def read(self, code: Code) -> str:
        return code.let("call i64 @llvm.aarch64.get.fpcr()")

    def flush(self, code: Code, old: str) -> str:
        return code.let(f"or i64 {old}, {1 << 24 | 1 << 19}")

    def write(self, code: Code, value: str) -> None:
        code.do(f"call void @llvm.aarch64.set.fpcr(i64 {value})")


def mode_ir(mode: Mode) -> str:
    """Both functions."""
    return f"\n{mode.declarations}\n" + _enter(mode) + _leave(mode)


def _enter(mode: Mode) -> str:
    code = Code()
    asks = code.let(f"and i64 {code.get(Context, '%context', 'flags')}, {ContextFlags.FLUSH.value}")
    code.give_back_unless(code.let(f"icmp ne i64 {asks}, 0"), "i64 -1")
    old = mode.read(code)
    mode.write(code, mode.flush(code, old))
    code.do(f"ret i64 {old}")
    return code.function("internal i64 @enter_mode(ptr %context)", "nounwind")


def _leave(mode: Mode) -> str:
    code = Code()
    with code.when(code.let("icmp ne i64 %old, -1")):
        mode.write(code, "%old")
    code.do("ret void")
    return code.function("internal void @leave_mode(i64 %old)", "nounwind")
