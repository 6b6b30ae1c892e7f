"""The native runtime as LLVM IR: a team of threads, beside the walker of programs (`walker.py`).

In: the target's triple. Out: IR text, the same for the JIT and for executables, so that Python needs no C compiler and
executables no library of ours. It knows the records in `native`, Linux's futex, and nothing of kernels.

    graphc_team_start(team, threads, spin) -> threads that run; those of a started team go on
    graphc_team_stop(team): returns when its threads have ended
    graphc_call(context, team) -> status

Waiting is spinning first, then a futex. A sleeper raises its counter, looks again, then sleeps; the waker changes the
word, then reads the counter: both sequentially consistent, so either the sleeper sees the change or the waker sees it.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError

from ..emit.text import Code
from ..native import Team
from .float_mode import ArmMode, Mode, X86Mode, mode_ir
from .walker import walker_ir

FUTEX_WAIT, FUTEX_WAKE = 128, 129  # among threads of one process
SIG_SETMASK = 2
# Workers block every signal but those that report a fault of their own (ILL, TRAP, BUS, FPE, SEGV), so that Ctrl-C
# reaches the main thread.
BLOCKED = -1241
MASK = 128  # bytes of a set of signals

DECLARATIONS = """
declare i64 @syscall(i64, ...)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @sched_yield()
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


@dataclass(frozen=True)
class Platform:
    """What the runtime must know of an operating system and processor."""

    futex: int  # system call number
    pause: str  # what a spinning thread does
    declaration: str
    mode: type[Mode]

    def wait(self, code: Code, word: str, old: str) -> None:
        """Sleep until the word changes, unless it is no longer `old`."""
        self._call(code, word, FUTEX_WAIT, old)

    def wake(self, code: Code, word: str) -> None:
        """Wake all who sleep on the word."""
        self._call(code, word, FUTEX_WAKE, (1 << 31) - 1)

    def _call(self, code: Code, word: str, operation: int, value: str | int) -> None:
        given = f"i64 {self.futex}, ptr {word}, i32 {operation}, i32 {value}, ptr null, ptr null, i32 0"
        code.let(f"call i64 (i64, ...) @syscall({given})")


_X86 = Platform(202, "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()", X86Mode)
_ARM = Platform(98, "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)", ArmMode)


def platform(triple: str) -> Platform:
    """Raises UnsupportedError for a machine that the runtime has not been written for."""
    architecture, _, rest = triple.partition("-")
    if "linux" in rest and architecture == "x86_64":
        return _X86
    if "linux" in rest and architecture in ("aarch64", "arm64"):
        return _ARM
    raise UnsupportedError("the llvm backend's runtime needs 64-bit Linux on x86 or ARM", got=triple)


@lru_cache(maxsize=8)  # asked for once to make it, and once to name it in what is kept
def runtime_ir(triple: str) -> str:
    """The module that defines the runtime."""
    on = platform(triple)
    functions = (_wait(on), _wake(on), _worker(), _start(), _stop())
    return "\n".join([DECLARATIONS, on.declaration, *functions]) + mode_ir(on.mode()) + walker_ir()


def _wait(on: Platform) -> str:
    """Return when the word is another than `old`."""
    code = Code()

    def compared(how: str, order: str) -> str:
        return code.let(f"icmp {how} i32 {code.load_atomic('i32', '%word', order)}, %old")

    with code.cycle(("i32", "0")) as looks:
        (number,) = looks.carried
        code.give_back_unless(compared("eq", "acquire"), "void")
        code.leave(looks, code.let(f"icmp uge i32 {number}, %spin"))
        code.do(on.pause)
        looks.next = [code.let(f"add i32 {number}, 1")]
    code.change_atomic("add", "i32", "%sleepers", 1, "seq_cst")
    with code.cycle() as sleep:
        code.leave(sleep, compared("ne", "seq_cst"))
        on.wait(code, "%word", "%old")
    code.change_atomic("sub", "i32", "%sleepers", 1, "seq_cst")
    code.do("ret void")
    return code.function("internal void @wait(ptr %word, i32 %old, ptr %sleepers, i32 %spin)", "noinline nounwind")


def _wake(on: Platform) -> str:
    """Wake those who wait for the word to change, which it has."""
    code = Code()
    asleep = code.load_atomic("i32", "%sleepers", "seq_cst")
    with code.when(code.let(f"icmp ne i32 {asleep}, 0")):
        on.wake(code, "%word")
    code.do("ret void")
    return code.function("internal void @wake(ptr %word, ptr %sleepers)", "nounwind")


def _worker() -> str:
    """What each thread of the team does but the calling one."""
    code = Code()
    region_at, sleepers = (code.field(Team, "%team", name) for name in ("region", "region_sleepers"))
    active, stop, context_at = (code.field(Team, "%team", name) for name in ("active", "stop", "context"))
    with code.cycle(("i32", "0")) as regions:
        (seen,) = regions.carried
        spin = code.get(Team, "%team", "spin")
        code.do(f"call void @wait(ptr {region_at}, i32 {seen}, ptr {sleepers}, i32 {spin})")
        code.leave(regions, code.let(f"icmp ne i32 {code.load_atomic('i32', stop, 'monotonic')}, 0"))
        code.change_atomic("add", "i32", active, 1, "seq_cst")
        region = code.load_atomic("i32", region_at, "seq_cst")
        context = code.load_atomic("ptr", context_at, "seq_cst")
        with code.when(code.let(f"icmp ne ptr {context}, null")):  # else it is over already
            mode = code.call("i64", "enter_mode", ("ptr", context))
            code.do(f"call void @work(ptr {context}, ptr %team, i32 {region}, i1 false)")
            code.do(f"call void @leave_mode(i64 {mode})")
        code.change_atomic("sub", "i32", active, 1, "seq_cst")
        regions.next = [region]
    code.change_atomic("add", "i32", code.field(Team, "%team", "left"), 1, "release")
    code.do("ret ptr null")
    return code.function("internal ptr @worker(ptr %team)", "nounwind")


def _start() -> str:
    code = Code()
    handle = code.alloca("i64", 1, 8)
    mask, old_mask = (code.alloca("i8", MASK, 8) for _ in range(2))
    running = code.get(Team, "%team", "threads")
    code.give_back_unless(code.let(f"icmp eq i32 {running}, 0"), f"i32 {running}")
    for memory, byte, size in (("%team", 0, ctypes.sizeof(Team)), (mask, -1, MASK)):
        code.do(f"call void @llvm.memset.p0.i64(ptr {memory}, i8 {byte}, i64 {size}, i1 false)")
    code.do(f"store i64 {BLOCKED}, ptr {mask}")
    code.put(Team, "%team", "spin", "%spin")
    code.let(f"call i32 @pthread_sigmask(i32 {SIG_SETMASK}, ptr {mask}, ptr {old_mask})")
    with code.cycle(("i32", "1")) as threads:
        (number,) = threads.carried
        code.leave(threads, code.let(f"icmp uge i32 {number}, %threads"))
        failed = code.let(f"call i32 @pthread_create(ptr {handle}, ptr null, ptr @worker, ptr %team)")
        code.leave(threads, code.let(f"icmp ne i32 {failed}, 0"))
        code.let(f"call i32 @pthread_detach(i64 {code.let(f'load i64, ptr {handle}')})")
        threads.next = [code.let(f"add i32 {number}, 1")]
    code.let(f"call i32 @pthread_sigmask(i32 {SIG_SETMASK}, ptr {old_mask}, ptr null)")
    code.put(Team, "%team", "threads", number)
    code.do(f"ret i32 {number}")
    return code.function("i32 @graphc_team_start(ptr %team, i32 %threads, i32 %spin)", "nounwind")


def _stop() -> str:
    code = Code()
    workers = code.let(f"sub i32 {code.get(Team, '%team', 'threads')}, 1")
    code.put(Team, "%team", "threads", 0)
    with code.when(code.let(f"icmp sgt i32 {workers}, 0")):
        code.store_atomic("i32", 1, code.field(Team, "%team", "stop"), "monotonic")
        region = code.field(Team, "%team", "region")
        code.change_atomic("add", "i32", region, 1, "seq_cst")
        code.do(f"call void @wake(ptr {region}, ptr {code.field(Team, '%team', 'region_sleepers')})")
        left = code.field(Team, "%team", "left")
        with code.cycle() as wait:
            code.leave(wait, code.let(f"icmp sge i32 {code.load_atomic('i32', left, 'acquire')}, {workers}"))
            code.let("call i32 @sched_yield()")
    code.do("ret void")
    return code.function("void @graphc_team_stop(ptr %team)", "nounwind")
