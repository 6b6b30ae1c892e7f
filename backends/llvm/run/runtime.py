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
from string import Template

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError

from ..native import Team
from .walker import walker_ir


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


@lru_cache(maxsize=8)  # asked for once to make it, and once to name it in what is kept
def runtime_ir(triple: str) -> str:
    """The module that defines the runtime."""
    on = platform(triple)
    team = Template(_TEAM).substitute(
        _offsets(Team), futex=on.futex, pause=on.pause, declare_pause=on.declaration, team_size=ctypes.sizeof(Team)
    )
    return team + walker_ir()


def _offsets(record: type[ctypes.Structure]) -> dict[str, int]:
    """Offsets by name: context_status, task_units, team_region."""
    return {f"{record.__name__.lower()}_{name}": getattr(record, name).offset for name, *_ in record._fields_}


# Workers block every signal but those that report a fault of their own (ILL, TRAP, BUS, FPE, SEGV), so that Ctrl-C
# reaches the main thread.
_TEAM = """
declare i64 @syscall(i64, ...)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @sched_yield()
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

define internal void @wake(ptr %word, ptr %sleepers) nounwind {
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %done
wake:
  %ignored = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 129, i32 2147483647, ptr null, ptr null, i32 0)
  br label %done
done:
  ret void
}

define internal ptr @worker(ptr %team) nounwind {
entry:
  %region.at = getelementptr i8, ptr %team, i64 $team_region
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  %active.at = getelementptr i8, ptr %team, i64 $team_active
  %stop.at = getelementptr i8, ptr %team, i64 $team_stop
  %context.at = getelementptr i8, ptr %team, i64 $team_context
  br label %next
next:
  %seen = phi i32 [ 0, %entry ], [ %region, %rest ]
  %spin = load i32, ptr %spin.at
  call void @wait(ptr %region.at, i32 %seen, ptr %sleepers.at, i32 %spin)
  %stop = load atomic i32, ptr %stop.at monotonic, align 4
  %go.on = icmp eq i32 %stop, 0
  br i1 %go.on, label %join, label %done
join:
  %before = atomicrmw add ptr %active.at, i32 1 seq_cst
  %region = load atomic i32, ptr %region.at seq_cst, align 4
  %context = load atomic ptr, ptr %context.at seq_cst, align 8
  %over = icmp eq ptr %context, null
  br i1 %over, label %rest, label %work
work:
  call void @work(ptr %context, ptr %team, i32 %region, i1 false)
  br label %rest
rest:
  %after = atomicrmw sub ptr %active.at, i32 1 seq_cst
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
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  %running = load i32, ptr %threads.at
  %is.running = icmp ne i32 %running, 0
  br i1 %is.running, label %started, label %begin
started:
  ret i32 %running
begin:
  call void @llvm.memset.p0.i64(ptr %team, i8 0, i64 $team_size, i1 false)
  call void @llvm.memset.p0.i64(ptr %mask, i8 -1, i64 128, i1 false)
  store i64 -1241, ptr %mask
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  store i32 %spin, ptr %spin.at
  %masked = call i32 @pthread_sigmask(i32 2, ptr %mask, ptr %old.mask)
  br label %head
head:
  %i = phi i32 [ 1, %begin ], [ %i.next, %made ]
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
  store i32 %i, ptr %threads.at
  ret i32 %i
}

define void @graphc_team_stop(ptr %team) nounwind {
entry:
  %threads.at = getelementptr i8, ptr %team, i64 $team_threads
  %threads = load i32, ptr %threads.at
  %workers = sub i32 %threads, 1
  %any = icmp sgt i32 %workers, 0
  store i32 0, ptr %threads.at
  br i1 %any, label %stop, label %done
stop:
  %stop.at = getelementptr i8, ptr %team, i64 $team_stop
  store atomic i32 1, ptr %stop.at monotonic, align 4
  %region.at = getelementptr i8, ptr %team, i64 $team_region
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  %before = atomicrmw add ptr %region.at, i32 1 seq_cst
  call void @wake(ptr %region.at, ptr %sleepers.at)
  %left.at = getelementptr i8, ptr %team, i64 $team_left
  br label %look
look:
  %left = load atomic i32, ptr %left.at acquire, align 4
  %gone = icmp sge i32 %left, %workers
  br i1 %gone, label %done, label %wait
wait:
  %yielded = call i32 @sched_yield()
  br label %look
done:
  ret void
}
"""
