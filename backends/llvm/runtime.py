"""The native runtime as LLVM IR: a team of threads, and the walker of a program's task table.

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
from string import Template

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError

from .native import INTERRUPTED, NO_TEAM, Context, ContextFlags, Task, Team


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
        sequential=ContextFlags.SEQUENTIAL.value, no_team=NO_TEAM,
        interrupted=INTERRUPTED, poll_every=POLL_NS,
    )  # fmt: skip


def report_ir() -> str:
    """`call void @report(ptr %context, i64 %task, i64 %index)`: what kernels call when a gathered index is outside.
    The first one wins. Goes into each module that needs it, so that kernels depend on no other object."""
    return Template(_REPORT).substitute(_offsets(Context))


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
  call void @work(ptr %context, ptr %team, i32 %region, i64 0)
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

POLL_NS = 50_000_000  # between two looks for an interrupt, each of which waits for Python's lock

# @ask: look for an interrupt, if it is time; then the status says so, and tasks are not carried out. Only the calling
# thread asks, before a tile that the phase then waits for: so nobody has begun with what comes after the phase.
# @await: whether `goal` tiles of the region were finished, once they are; false if the region is over.
# @work: take tiles of each task in turn, as soon as it may start, until none is left or the region is over. After a
# bad index, tiles are counted and not carried out.
_WALKER = """
define internal i1 @await(ptr %team, i32 %region, i32 %goal) nounwind {
entry:
  %finished.at = getelementptr i8, ptr %team, i64 $team_finished
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_tile_sleepers
  %spin.at = getelementptr i8, ptr %team, i64 $team_spin
  br label %look
look:
  %finished = load atomic i64, ptr %finished.at acquire, align 8
  %high = lshr i64 %finished, 32
  %now = trunc i64 %high to i32
  %tiles = trunc i64 %finished to i32
  %current = icmp eq i32 %now, %region
  br i1 %current, label %compare, label %over
compare:
  %reached = icmp uge i32 %tiles, %goal
  br i1 %reached, label %yes, label %wait
wait:
  %spin = load i32, ptr %spin.at
  call void @wait(ptr %finished.at, i32 %tiles, ptr %sleepers.at, i32 %spin)
  br label %look
yes:
  ret i1 true
over:
  ret i1 false
}

declare i32 @clock_gettime(i32, ptr)

define internal void @ask(ptr %context) noinline nounwind {
entry:
  %time = alloca { i64, i64 }, align 8
  %ignored = call i32 @clock_gettime(i32 6, ptr %time)
  %seconds = load i64, ptr %time
  %part.at = getelementptr i8, ptr %time, i64 8
  %part = load i64, ptr %part.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %part
  %next.at = getelementptr i8, ptr %context, i64 $context_next_poll
  %next = load i64, ptr %next.at
  %due = icmp sge i64 %now, %next
  br i1 %due, label %poll, label %done
poll:
  %later = add i64 %now, $poll_every
  store i64 %later, ptr %next.at
  %poll.at = getelementptr i8, ptr %context, i64 $context_poll
  %function = load ptr, ptr %poll.at
  %answer = call i32 %function()
  %wanted = icmp ne i32 %answer, 0
  br i1 %wanted, label %stop, label %done
stop:
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %pair = cmpxchg ptr %status.at, i64 0, i64 $interrupted monotonic monotonic
  br label %done
done:
  ret void
}

define internal void @work(ptr %context, ptr %team, i32 %region, i64 %polled) nounwind {
entry:
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %buffers.at = getelementptr i8, ptr %context, i64 $context_buffers
  %buffers = load ptr, ptr %buffers.at
  %tasks.at = getelementptr i8, ptr %context, i64 $context_tasks
  %tasks = load ptr, ptr %tasks.at
  %count.at = getelementptr i8, ptr %context, i64 $context_task_count
  %count = load i64, ptr %count.at
  %taken.at = getelementptr i8, ptr %context, i64 $context_taken
  %taken = load ptr, ptr %taken.at
  %finished.at = getelementptr i8, ptr %team, i64 $team_finished
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_tile_sleepers
  %wide = zext i32 %region to i64
  %tag = shl i64 %wide, 32
  br label %head
head:
  %number = phi i64 [ 0, %entry ], [ %number.next, %next ]
  %more = icmp ult i64 %number, %count
  br i1 %more, label %task, label %done
task:
  %offset = mul i64 %number, $task_size
  %row = getelementptr i8, ptr %tasks, i64 %offset
  %function.at = getelementptr i8, ptr %row, i64 $task_function
  %slots.at = getelementptr i8, ptr %row, i64 $task_slots
  %units.at = getelementptr i8, ptr %row, i64 $task_units
  %grain.at = getelementptr i8, ptr %row, i64 $task_grain
  %ready.at = getelementptr i8, ptr %row, i64 $task_ready
  %complete.at = getelementptr i8, ptr %row, i64 $task_complete
  %units = load i64, ptr %units.at
  %grain = load i64, ptr %grain.at
  %ready = load i64, ptr %ready.at
  %goal = trunc i64 %ready to i32
  %may.start = call i1 @await(ptr %team, i32 %region, i32 %goal)
  br i1 %may.start, label %start, label %done
start:
  %counter = getelementptr i64, ptr %taken, i64 %number
  %first = load atomic i64, ptr %counter monotonic, align 8
  br label %look
look:
  %seen = phi i64 [ %first, %start ], [ %found, %take ], [ %again, %finish ]
  %tile = sub i64 %seen, %tag
  %current = icmp ult i64 %tile, 4294967296
  br i1 %current, label %place, label %done
place:
  %low = mul i64 %tile, %grain
  %left = icmp ult i64 %low, %units
  br i1 %left, label %take, label %next
take:
  %seen.next = add i64 %seen, 1
  %pair = cmpxchg ptr %counter, i64 %seen, i64 %seen.next monotonic monotonic
  %found = extractvalue { i64, i1 } %pair, 0
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %run, label %look
run:
  %asks = icmp ult i64 %number, %polled
  br i1 %asks, label %ask, label %go
ask:
  call void @ask(ptr %context)
  br label %go
go:
  %status = load atomic i64, ptr %status.at monotonic, align 8
  %well = icmp eq i64 %status, 0
  br i1 %well, label %do, label %tally
do:
  %function = load ptr, ptr %function.at
  %slots = load ptr, ptr %slots.at
  %end = add i64 %low, %grain
  %short = icmp ult i64 %units, %end
  %high = select i1 %short, i64 %units, i64 %end
  call void %function(ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %number, ptr %context)
  br label %tally
tally:
  %finished = atomicrmw add ptr %finished.at, i64 1 seq_cst
  %tiles.before = sub i64 %finished, %tag
  %tiles = add i64 %tiles.before, 1
  %complete = load i64, ptr %complete.at
  %phase.over = icmp eq i64 %tiles, %complete
  br i1 %phase.over, label %wake, label %finish
wake:
  call void @wake(ptr %finished.at, ptr %sleepers.at)
  br label %finish
finish:
  %again = load atomic i64, ptr %counter monotonic, align 8
  br label %look
next:
  %number.next = add i64 %number, 1
  br label %head
done:
  ret void
}

define internal void @work_alone(ptr %context) nounwind {
entry:
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %buffers.at = getelementptr i8, ptr %context, i64 $context_buffers
  %buffers = load ptr, ptr %buffers.at
  %tasks.at = getelementptr i8, ptr %context, i64 $context_tasks
  %tasks = load ptr, ptr %tasks.at
  %count.at = getelementptr i8, ptr %context, i64 $context_task_count
  %count = load i64, ptr %count.at
  %polled.at = getelementptr i8, ptr %context, i64 $context_polled
  %polled = load i64, ptr %polled.at
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
  %grain.at = getelementptr i8, ptr %row, i64 $task_grain
  %grain = load i64, ptr %grain.at
  %asks = icmp ult i64 %number, %polled
  %step = select i1 %asks, i64 %grain, i64 %units
  br label %tile
tile:
  %low = phi i64 [ 0, %task ], [ %high, %do ]
  br i1 %asks, label %ask, label %look
ask:
  call void @ask(ptr %context)
  br label %look
look:
  %status = load atomic i64, ptr %status.at monotonic, align 8
  %well = icmp eq i64 %status, 0
  br i1 %well, label %do, label %done
do:
  %end = add i64 %low, %step
  %short = icmp ult i64 %units, %end
  %high = select i1 %short, i64 %units, i64 %end
  call void %function(ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %number, ptr %context)
  %rest = icmp ult i64 %high, %units
  br i1 %rest, label %tile, label %next
next:
  %number.next = add i64 %number, 1
  br label %head
done:
  ret void
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
  %threads = load i32, ptr %threads.at
  switch i32 %threads, label %prepare [ i32 0, label %missing
                                        i32 1, label %alone ]
missing:
  ret i64 $no_team
alone:
  call void @work_alone(ptr %context)
  br label %done
prepare:
  %region.at = getelementptr i8, ptr %team, i64 $team_region
  %region.before = load atomic i32, ptr %region.at monotonic, align 4
  %region = add i32 %region.before, 1
  %wide = zext i32 %region to i64
  %tag = shl i64 %wide, 32
  %taken.at = getelementptr i8, ptr %context, i64 $context_taken
  %taken = load ptr, ptr %taken.at
  %tasks.at = getelementptr i8, ptr %context, i64 $context_task_count
  %tasks = load i64, ptr %tasks.at
  br label %clear
clear:
  %number = phi i64 [ 0, %prepare ], [ %number.next, %clear.next ]
  %more = icmp ult i64 %number, %tasks
  br i1 %more, label %clear.next, label %open
clear.next:
  %counter = getelementptr i64, ptr %taken, i64 %number
  store atomic i64 %tag, ptr %counter monotonic, align 8
  %number.next = add i64 %number, 1
  br label %clear
open:
  %finished.at = getelementptr i8, ptr %team, i64 $team_finished
  store atomic i64 %tag, ptr %finished.at release, align 8
  %context.at = getelementptr i8, ptr %team, i64 $team_context
  store atomic ptr %context, ptr %context.at release, align 8
  %sleepers.at = getelementptr i8, ptr %team, i64 $team_region_sleepers
  %bumped = atomicrmw add ptr %region.at, i32 1 seq_cst
  call void @wake(ptr %region.at, ptr %sleepers.at)
  %polled.at = getelementptr i8, ptr %context, i64 $context_polled
  %polled = load i64, ptr %polled.at
  call void @work(ptr %context, ptr %team, i32 %region, i64 %polled)
  %last = sub i64 %tasks, 1
  %none = icmp slt i64 %last, 0
  br i1 %none, label %close, label %finish
finish:
  %rows.at = getelementptr i8, ptr %context, i64 $context_tasks
  %rows = load ptr, ptr %rows.at
  %offset = mul i64 %last, $task_size
  %row = getelementptr i8, ptr %rows, i64 %offset
  %complete.at = getelementptr i8, ptr %row, i64 $task_complete
  %complete = load i64, ptr %complete.at
  %goal = trunc i64 %complete to i32
  %ended = call i1 @await(ptr %team, i32 %region, i32 %goal)
  br label %close
close:
  store atomic ptr null, ptr %context.at seq_cst, align 8
  br label %done
done:
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
