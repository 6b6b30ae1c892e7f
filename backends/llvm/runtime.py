"""The native runtime as LLVM IR: a team of threads, its barrier, and the walker of a program's task table.

In: the target's triple. Out: IR text, the same for the JIT and for executables, so that Python needs no C compiler and
executables no library of ours. It knows the records in `native`, Linux's futex, and nothing of kernels.

    graphc_team_start(team, threads, spin) -> threads that run     graphc_team_stop(team)
    graphc_call(context, team) -> status                           graphc_run(context, thread, threads) -> status

Waiting is spinning first, then a futex. A sleeper raises its counter, looks again, then sleeps; the waker changes the
word, then reads the counter: both sequentially consistent, so either the sleeper sees the change or the waker sees it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from string import Template

from graphc.errors import UnsupportedError

from .native import NO_TEAM, Context, ContextFlags, Task, TaskFlags, Team


@dataclass(frozen=True)
class Platform:
    """What the runtime must know of an operating system and processor."""

    futex: int  # system call number
    pause: str  # what a spinning thread does
    declaration: str


_X86 = Platform(202, "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()")
_ARM = Platform(98, "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)")


def platform(triple: str) -> Platform:
    """Raises UnsupportedError for a machine that the runtime has not been written for."""
    architecture, _, rest = triple.partition("-")
    if "linux" in rest and architecture == "x86_64":
        return _X86
    if "linux" in rest and architecture in ("aarch64", "arm64"):
        return _ARM
    raise UnsupportedError("the llvm backend's runtime needs 64-bit Linux on x86 or ARM", got=triple)


def runtime_ir(triple: str) -> str:
    """The module that defines the runtime."""
    on = platform(triple)
    return Template(_TEAM + _WALKER).substitute(
        _offsets(Context), **_offsets(Task), **_offsets(Team),
        futex=on.futex, pause=on.pause, declare_pause=on.declaration,
        task_size=ctypes.sizeof(Task), team_size=ctypes.sizeof(Team),
        serial=TaskFlags.SERIAL.value, barrier=TaskFlags.BARRIER.value,
        sequential=ContextFlags.SEQUENTIAL.value, no_team=NO_TEAM,
    )  # fmt: skip


def report_ir() -> str:
    """`call void @report(ptr %context, i64 %task, i64 %index)`: what kernels call when a gathered index is outside.
    The first one wins. Goes into each module that needs it, so that kernels depend on no other object."""
    return Template(_REPORT).substitute(_offsets(Context))


def _offsets(record: type[ctypes.Structure]) -> dict[str, int]:
    """Offsets by name: context_status, task_units, team_phase."""
    return {f"{record.__name__.lower()}_{name}": getattr(record, name).offset for name, *_ in record._fields_}


# Workers block every signal but those that report a fault of their own (ILL, TRAP, BUS, FPE, SEGV), so that Ctrl-C
# reaches the main thread.
_TEAM = """
declare i64 @syscall(i64, ...)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
$declare_pause

define internal void @wait(ptr %word, i32 %old, ptr %sleepers, i32 %spin) noinline nounwind {
entry:
  br label %look
look:
  %i = phi i32 [ 0, %entry ], [ %i.next, %pause ]
  %seen = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %seen, %old
  br i1 %changed, label %done, label %patience
patience:
  %more = icmp ult i32 %i, %spin
  br i1 %more, label %pause, label %sleep
pause:
  $pause
  %i.next = add i32 %i, 1
  br label %look
sleep:
  %before = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %again
again:
  %seen.now = load atomic i32, ptr %word seq_cst, align 4
  %changed.now = icmp ne i32 %seen.now, %old
  br i1 %changed.now, label %awake, label %futex
futex:
  %ignored = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 128, i32 %old, ptr null, ptr null, i32 0)
  br label %again
awake:
  %after = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}

define internal void @advance(ptr %word, ptr %sleepers) nounwind {
  %before = atomicrmw add ptr %word, i32 1 seq_cst
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %done
wake:
  %ignored = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 129, i32 2147483647, ptr null, ptr null, i32 0)
  br label %done
done:
  ret void
}

define internal void @meet(ptr %team) nounwind {
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  %threads = load i32, ptr %threads.at
  %arrived.at = getelementptr i8, ptr %team, i64 $team_arrived
  %phase.at = getelementptr i8, ptr %team, i64 $team_phase
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_barrier_sleepers
  %phase = load atomic i32, ptr %phase.at acquire, align 4
  %before = atomicrmw add ptr %arrived.at, i32 1 acq_rel
  %arrived = add i32 %before, 1
  %last = icmp eq i32 %arrived, %threads
  br i1 %last, label %release, label %wait
release:
  store atomic i32 0, ptr %arrived.at monotonic, align 4
  call void @advance(ptr %phase.at, ptr %sleepers.at)
  ret void
wait:
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  %spin = load i32, ptr %spin.at
  call void @wait(ptr %phase.at, i32 %phase, ptr %sleepers.at, i32 %spin)
  ret void
}

define internal ptr @worker(ptr %team) nounwind {
entry:
  %joined.at = getelementptr i8, ptr %team, i64 $team_joined
  %sequence.at = getelementptr i8, ptr %team, i64 $team_sequence
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  %context.at = getelementptr i8, ptr %team, i64 $team_context
  %before = atomicrmw add ptr %joined.at, i32 1 monotonic
  %number = add i32 %before, 1
  %thread = zext i32 %number to i64
  br label %next
next:
  %sequence = phi i32 [ 0, %entry ], [ %sequence.next, %work ]
  %spin = load i32, ptr %spin.at
  call void @wait(ptr %sequence.at, i32 %sequence, ptr %sleepers.at, i32 %spin)
  %sequence.next = add i32 %sequence, 1
  %context = load ptr, ptr %context.at
  %leave = icmp eq ptr %context, null
  br i1 %leave, label %done, label %work
work:
  %count = load i32, ptr %threads.at
  %threads = zext i32 %count to i64
  %ignored = call i64 @graphc_run(ptr %context, i64 %thread, i64 %threads)
  call void @meet(ptr %team)
  br label %next
done:
  %left.at = getelementptr i8, ptr %team, i64 $team_left
  %gone = atomicrmw add ptr %left.at, i32 1 release
  ret ptr null
}

define i32 @graphc_team_start(ptr %team, i32 %threads, i32 %spin) nounwind {
entry:
  %id = alloca i64
  %mask = alloca [16 x i64], align 8
  %old.mask = alloca [16 x i64], align 8
  call void @llvm.memset.p0.i64(ptr %team, i8 0, i64 $team_size, i1 false)
  call void @llvm.memset.p0.i64(ptr %mask, i8 -1, i64 128, i1 false)
  store i64 -1241, ptr %mask
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  store i32 %spin, ptr %spin.at
  %masked = call i32 @pthread_sigmask(i32 2, ptr %mask, ptr %old.mask)
  br label %head
head:
  %i = phi i32 [ 1, %entry ], [ %i.next, %made ]
  %more = icmp ult i32 %i, %threads
  br i1 %more, label %make, label %done
make:
  %failed = call i32 @pthread_create(ptr %id, ptr null, ptr @worker, ptr %team)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %done
made:
  %handle = load i64, ptr %id
  %detached = call i32 @pthread_detach(i64 %handle)
  %i.next = add i32 %i, 1
  br label %head
done:
  %unmasked = call i32 @pthread_sigmask(i32 2, ptr %old.mask, ptr null)
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  store i32 %i, ptr %threads.at
  ret i32 %i
}

define void @graphc_team_stop(ptr %team) nounwind {
  %context.at = getelementptr i8, ptr %team, i64 $team_context
  store ptr null, ptr %context.at
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  store i32 0, ptr %threads.at
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  %sequence.at = getelementptr i8, ptr %team, i64 $team_sequence
  call void @advance(ptr %sequence.at, ptr %sleepers.at)
  ret void
}
"""

_WALKER = """
define i64 @graphc_run(ptr %context, i64 %thread, i64 %threads) nounwind {
entry:
  %buffers.at = getelementptr i8, ptr %context, i64 $context_buffers
  %buffers = load ptr, ptr %buffers.at
  %tasks.at = getelementptr i8, ptr %context, i64 $context_tasks
  %tasks = load ptr, ptr %tasks.at
  %count.at = getelementptr i8, ptr %context, i64 $context_task_count
  %count = load i64, ptr %count.at
  %counters.at = getelementptr i8, ptr %context, i64 $context_counters
  %counters = load ptr, ptr %counters.at
  %team.at = getelementptr i8, ptr %context, i64 $context_team
  %team = load ptr, ptr %team.at
  %alone = icmp eq i64 %threads, 1
  %first = icmp eq i64 %thread, 0
  br label %head
head:
  %number = phi i64 [ 0, %entry ], [ %number.next, %next ]
  %more = icmp ult i64 %number, %count
  br i1 %more, label %task, label %done
task:
  %offset = mul i64 %number, $task_size
  %row = getelementptr i8, ptr %tasks, i64 %offset
  %function.at = getelementptr i8, ptr %row, i64 $task_function
  %function = load ptr, ptr %function.at
  %slots.at = getelementptr i8, ptr %row, i64 $task_slots
  %slots = load ptr, ptr %slots.at
  %units.at = getelementptr i8, ptr %row, i64 $task_units
  %units = load i64, ptr %units.at
  br i1 %alone, label %whole, label %together
together:
  %flags.at = getelementptr i8, ptr %row, i64 $task_flags
  %flags = load i64, ptr %flags.at
  %barrier = and i64 %flags, $barrier
  %free = icmp eq i64 %barrier, 0
  br i1 %free, label %kind, label %meet
meet:
  call void @meet(ptr %team)
  br label %kind
kind:
  %serial = and i64 %flags, $serial
  %parallel = icmp eq i64 %serial, 0
  br i1 %parallel, label %share, label %single
single:
  br i1 %first, label %whole, label %next
whole:
  call void %function(ptr %buffers, ptr %slots, i64 0, i64 %units, i64 %number, ptr %context)
  br label %next
share:
  %grain.at = getelementptr i8, ptr %row, i64 $task_grain
  %grain = load i64, ptr %grain.at
  %counter = getelementptr i64, ptr %counters, i64 %number
  br label %take
take:
  %low = atomicrmw add ptr %counter, i64 %grain monotonic
  %left = icmp slt i64 %low, %units
  br i1 %left, label %part, label %next
part:
  %end = add i64 %low, %grain
  %short = icmp slt i64 %units, %end
  %high = select i1 %short, i64 %units, i64 %end
  call void %function(ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %number, ptr %context)
  br label %take
next:
  %number.next = add i64 %number, 1
  br label %head
done:
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %status = load atomic i64, ptr %status.at monotonic, align 8
  ret i64 %status
}

define i64 @graphc_call(ptr %context, ptr %team) nounwind {
entry:
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  store i64 0, ptr %status.at
  %flags.at = getelementptr i8, ptr %context, i64 $context_flags
  %flags = load i64, ptr %flags.at
  %sequential = and i64 %flags, $sequential
  %small = icmp ne i64 %sequential, 0
  br i1 %small, label %alone, label %look
look:
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  %count = load i32, ptr %threads.at
  %threads = zext i32 %count to i64
  switch i64 %threads, label %region [ i64 0, label %missing
                                       i64 1, label %alone ]
missing:
  ret i64 $no_team
alone:
  %status.alone = call i64 @graphc_run(ptr %context, i64 0, i64 1)
  ret i64 %status.alone
region:
  %counters.at = getelementptr i8, ptr %context, i64 $context_counters
  %counters = load ptr, ptr %counters.at
  %tasks.at = getelementptr i8, ptr %context, i64 $context_task_count
  %tasks = load i64, ptr %tasks.at
  %bytes = shl i64 %tasks, 3
  call void @llvm.memset.p0.i64(ptr %counters, i8 0, i64 %bytes, i1 false)
  %team.at = getelementptr i8, ptr %context, i64 $context_team
  store ptr %team, ptr %team.at
  %context.at = getelementptr i8, ptr %team, i64 $team_context
  store ptr %context, ptr %context.at
  %sequence.at = getelementptr i8, ptr %team, i64 $team_sequence
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  call void @advance(ptr %sequence.at, ptr %sleepers.at)
  %ignored = call i64 @graphc_run(ptr %context, i64 0, i64 %threads)
  call void @meet(ptr %team)
  %status = load atomic i64, ptr %status.at monotonic, align 8
  ret i64 %status
}
"""

_REPORT = """
define internal void @report(ptr %context, i64 %task, i64 %index) noinline nounwind cold {
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %status = add i64 %task, 1
  %pair = cmpxchg ptr %status.at, i64 0, i64 %status monotonic monotonic
  %first = extractvalue { i64, i1 } %pair, 1
  br i1 %first, label %keep, label %done
keep:
  %index.at = getelementptr i8, ptr %context, i64 $context_bad_index
  store i64 %index, ptr %index.at
  ret void
done:
  ret void
}
"""
