"""The walker as LLVM IR: it carries out a program's control rows, on the team or on the calling thread alone.

In: nothing. Out: the text of the functions below, for `runtime` to put beside the team's. It knows the records in
`native`, and of the team only how regions open and close.

    @graphc_call   walks the whole table
    @walk          rows of a block, in order; calls itself through @loop and @branch
    @loop, @branch one such row
    @region        a run of tasks, by the team: opens a region, works in it, and closes it
    @work          what each thread does in a region: take tiles of each task in turn, as soon as it may start
    @work_alone    a run of tasks, by the calling thread
    @await         whether so many tiles of the region were finished, once they are; false if the region is over
    @ask           look for an interrupt, if it is time; then the status says so, and tasks are not carried out

Only the calling thread asks, before a tile that the phase then waits for, or between iterations: so nobody has begun
with what comes after. After a bad index, tiles are counted and not carried out, and loops end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..emit.text import Code
from ..native import (
    INTERRUPTED,
    NO_TEAM,
    Context,
    ContextFlags,
    Control,
    RowKind,
    Swap,
    Task,
    Team,
    WindowRow,
)

POLL_NS = 50_000_000  # between two looks for an interrupt, each of which waits for Python's lock
MONOTONIC_COARSE = 6  # a clock of a few nanoseconds
ASK_EVERY = 64  # iterations of a loop, a power of two

DECLARATIONS = """
declare i32 @clock_gettime(i32, ptr)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
"""


def walker_ir() -> str:
    """All functions of the walker. They call @wait and @wake of the team, and @enter_mode and
    @leave_mode."""
    parts = (_await, _ask, _work, _work_alone, _region, _loop, _branch, _walk, _call)
    return DECLARATIONS + "\n".join(part() for part in parts)


def _function(code: Code, signature: str, attributes: str = "nounwind") -> str:
    return code.function(signature, attributes)


def _status(code: Code) -> str:
    return code.load_atomic("i64", code.field(Context, "%context", "status"), "monotonic")


def _await() -> str:
    code = Code()
    finished_at = code.field(Team, "%team", "finished")
    sleepers = code.field(Team, "%team", "tile_sleepers")
    with code.cycle():
        finished = code.load_atomic("i64", finished_at, "acquire")
        now = code.let(f"trunc i64 {code.let(f'lshr i64 {finished}, 32')} to i32")
        tiles = code.let(f"trunc i64 {finished} to i32")
        code.give_back_unless(code.let(f"icmp eq i32 {now}, %region"), "i1 false")
        code.give_back_unless(code.let(f"icmp ult i32 {tiles}, %goal"), "i1 true")
        spin = code.get(Team, "%team", "spin")
        code.do(f"call void @wait(ptr {finished_at}, i32 {tiles}, ptr {sleepers}, i32 {spin})")
    code.do("unreachable")
    return _function(code, "internal i1 @await(ptr %team, i32 %region, i32 %goal)")


def _ask() -> str:
    code = Code()
    time = code.alloca("{ i64, i64 }", 1, 8)
    code.do(f"call i32 @clock_gettime(i32 {MONOTONIC_COARSE}, ptr {time})")
    seconds = code.let(f"load i64, ptr {time}")
    part = code.let(f"load i64, ptr {code.element(time, 'i64', 1)}")
    now = code.let(f"add i64 {code.let(f'mul i64 {seconds}, 1000000000')}, {part}")
    following = code.get(Context, "%context", "next_poll")
    with code.when(code.let(f"icmp sge i64 {now}, {following}")):
        code.put(Context, "%context", "next_poll", code.let(f"add i64 {now}, {POLL_NS}"))
        poll = code.get(Context, "%context", "poll")
        answer = code.let(f"call i32 {poll}()")
        with code.when(code.let(f"icmp ne i32 {answer}, 0")):
            code.exchange_atomic("i64", code.field(Context, "%context", "status"), 0, INTERRUPTED)
    code.do("ret void")
    return _function(code, "internal void @ask(ptr %context)", "noinline nounwind")


class _Run:
    """The loads that carrying out a run of tasks begins with, and then each task's."""

    def __init__(self, code: Code, row: str) -> None:
        self.code = code
        self.first = code.get(Control, row, "task")
        self.last = code.let(f"add i64 {self.first}, {code.get(Control, row, 'count')}")
        self.tasks = code.get(Context, "%context", "tasks")
        self.buffers = code.get(Context, "%context", "buffers")

    def asks(self, row: str) -> str:
        """Tasks before this number look for an interrupt, if this is the calling thread."""
        code = self.code
        polled = code.get(Context, "%context", "polled")
        wanted = code.let(f"icmp ne i64 {code.get(Control, row, 'asks')}, 0")
        return code.let(f"select i1 {wanted}, i64 {polled}, i64 0")

    def call(self, task: str, number: str, units: str, low: str, step: str) -> str:
        """Carry out the units from `low` on, at most so many; where they end."""
        code = self.code
        end = code.let(f"add i64 {low}, {step}")
        short = code.let(f"icmp ult i64 {units}, {end}")
        high = code.let(f"select i1 {short}, i64 {units}, i64 {end}")
        function, slots = code.get(Task, task, "function"), code.get(Task, task, "slots")
        code.do(
            f"call void {function}(ptr {self.buffers}, ptr {slots}, i64 {low}, i64 {high}, i64 {number}, ptr %context)"
        )
        return high


def _work() -> str:
    code = Code()
    row = code.load_atomic("ptr", code.field(Context, "%context", "run"), "acquire")
    run = _Run(code, row)
    asks = code.let(f"select i1 %calls, i64 {run.asks(row)}, i64 0")
    taken = code.get(Context, "%context", "taken")
    finished = code.field(Team, "%team", "finished")
    sleepers = code.field(Team, "%team", "tile_sleepers")
    tag = _tag(code, "%region")
    with code.cycle(("i64", run.first)) as each:
        (number,) = each.carried
        code.leave(each, code.let(f"icmp uge i64 {number}, {run.last}"))
        task = code.row(Task, run.tasks, number)
        units, grain = code.get(Task, task, "units"), code.get(Task, task, "grain")
        goal = code.let(f"trunc i64 {code.get(Task, task, 'ready')} to i32")
        may_start = code.let(f"call i1 @await(ptr %team, i32 %region, i32 {goal})")
        code.leave(each, code.let(f"xor i1 {may_start}, true"))
        counter = code.element(taken, "i64", number)
        first = code.load_atomic("i64", counter, "monotonic")
        with code.cycle(("i64", first)) as tiles:
            (seen,) = tiles.carried
            tile = code.let(f"sub i64 {seen}, {tag}")
            code.leave(tiles, code.let(f"icmp uge i64 {tile}, {1 << 32}"))  # another region's: this one is over
            low = code.let(f"mul i64 {tile}, {grain}")
            code.leave(tiles, code.let(f"icmp uge i64 {low}, {units}"))
            found, mine = code.exchange_atomic("i64", counter, seen, code.let(f"add i64 {seen}, 1"))

            def carry_out() -> str:
                with code.when(code.let(f"icmp ult i64 {number}, {asks}")):
                    code.do("call void @ask(ptr %context)")
                with code.when(code.let(f"icmp eq i64 {_status(code)}, 0")):
                    run.call(task, number, units, low, grain)
                before = code.change_atomic("add", "i64", finished, 1, "seq_cst")
                done = code.let(f"add i64 {code.let(f'sub i64 {before}, {tag}')}, 1")
                with code.when(code.let(f"icmp eq i64 {done}, {code.get(Task, task, 'complete')}")):
                    code.do(f"call void @wake(ptr {finished}, ptr {sleepers})")
                return code.load_atomic("i64", counter, "monotonic")

            tiles.next = [code.either(mine, "i64", carry_out, lambda: found)]
        each.next = [code.let(f"add i64 {number}, 1")]
    code.do("ret void")
    return _function(code, "internal void @work(ptr %context, ptr %team, i32 %region, i1 %calls)")


def _work_alone() -> str:
    code = Code()
    run = _Run(code, "%row")
    asks = run.asks("%row")
    with code.cycle(("i64", run.first)) as each:
        (number,) = each.carried
        task = code.row(Task, run.tasks, number)
        units, grain = code.get(Task, task, "units"), code.get(Task, task, "grain")
        looks = code.let(f"icmp ult i64 {number}, {asks}")
        step = code.let(f"select i1 {looks}, i64 {grain}, i64 {units}")
        with code.cycle(("i64", "0")) as tiles:
            (low,) = tiles.carried
            with code.when(looks):
                code.do("call void @ask(ptr %context)")
            code.give_back_unless(code.let(f"icmp eq i64 {_status(code)}, 0"), "void")
            high = run.call(task, number, units, low, step)
            code.leave(tiles, code.let(f"icmp uge i64 {high}, {units}"))
            tiles.next = [high]
        following = code.let(f"add i64 {number}, 1")
        code.leave(each, code.let(f"icmp uge i64 {following}, {run.last}"))
        each.next = [following]
    code.do("ret void")
    return _function(code, "internal void @work_alone(ptr %context, ptr %row)")


def _tag(code: Code, region: str) -> str:
    return code.let(f"shl i64 {code.let(f'zext i32 {region} to i64')}, 32")


def _region() -> str:
    code = Code()
    region_at = code.field(Team, "%team", "region")
    region = code.let(f"add i32 {code.load_atomic('i32', region_at, 'monotonic')}, 1")
    tag = _tag(code, region)
    run = _Run(code, "%row")
    taken = code.get(Context, "%context", "taken")
    with code.cycle(("i64", run.first)) as each:
        (number,) = each.carried
        code.store_atomic("i64", tag, code.element(taken, "i64", number), "monotonic")
        each.next = [code.let(f"add i64 {number}, 1")]
        code.leave(each, code.let(f"icmp uge i64 {each.next[0]}, {run.last}"))
    code.store_atomic("ptr", "%row", code.field(Context, "%context", "run"), "release")
    code.store_atomic("i64", tag, code.field(Team, "%team", "finished"), "release")
    context_at = code.field(Team, "%team", "context")
    code.store_atomic("ptr", "%context", context_at, "release")
    code.change_atomic("add", "i32", region_at, 1, "seq_cst")
    code.do(f"call void @wake(ptr {region_at}, ptr {code.field(Team, '%team', 'region_sleepers')})")
    code.do(f"call void @work(ptr %context, ptr %team, i32 {region}, i1 true)")
    last = code.row(Task, run.tasks, code.let(f"sub i64 {run.last}, 1"))
    goal = code.let(f"trunc i64 {code.get(Task, last, 'complete')} to i32")
    code.do(f"call i1 @await(ptr %team, i32 {region}, i32 {goal})")
    code.store_atomic("ptr", "null", context_at, "seq_cst")
    code.do("ret void")
    return _function(code, "internal void @region(ptr %context, ptr %team, ptr %row)")


@contextmanager
def _each(code: Code, table: str, first: str, count: str) -> Iterator[str]:
    """The code for each record of a part of a table of the context, which may be empty: the number of the record."""
    first, count = code.get(Control, "%row", first), code.get(Control, "%row", count)
    with code.each(first, code.let(f"add i64 {first}, {count}")) as number:
        yield number


def _held(code: Code, buffers: str, type_: str, name: str) -> str:
    """What the buffer holds that a field of the row names."""
    memory = code.let(f"load ptr, ptr {code.element(buffers, 'ptr', code.get(Control, '%row', name))}")
    return code.let(f"load {type_}, ptr {memory}")


def _length(code: Code, buffers: str) -> str:
    """The iterations of a loop, as far as they are known before it starts."""
    most = code.get(Control, "%row", "length")
    counted = code.let(f"icmp sge i64 {code.get(Control, '%row', 'limit')}, 0")

    def limited() -> str:
        wanted = code.call("i64", "llvm.smax.i64", ("i64", _held(code, buffers, "i64", "limit")), ("i64", "0"))
        return code.call("i64", "llvm.smin.i64", ("i64", wanted), ("i64", most))

    return code.either(counted, "i64", limited, lambda: most)


def _loop() -> str:
    code = Code()
    buffers, rows = code.get(Context, "%context", "buffers"), code.get(Context, "%context", "rows")
    windows, swaps = code.get(Context, "%context", "windows"), code.get(Context, "%context", "swaps")

    def place(record: type[WindowRow] | type[Swap], row: str, name: str) -> str:
        return code.element(buffers, "ptr", code.get(record, row, name))

    def walk(after: str, end: str) -> None:
        start = code.let(f"add i64 {after}, 1")
        code.do(f"call void @walk(ptr %context, ptr %team, i64 {start}, i64 {end})")

    length = _length(code, buffers)
    last = code.let(f"sub i64 {length}, 1")
    with _each(code, windows, "window", "windows") as number:
        row = code.row(WindowRow, windows, number)
        base = code.let(f"load ptr, ptr {place(WindowRow, row, 'of')}")
        backwards = code.let(f"sub i64 0, {code.get(WindowRow, row, 'stride')}")
        back = code.let(f"mul i64 {last}, {backwards}")
        moved = code.call("i64", "llvm.smax.i64", ("i64", back), ("i64", "0"))
        start = code.let(f"add i64 {moved}, {code.get(WindowRow, row, 'offset')}")
        code.do(f"store ptr {code.element(base, 'i8', start)}, ptr {place(WindowRow, row, 'buffer')}")
    start = code.let("add i64 %number, 1")
    condition = code.get(Control, code.row(Control, rows, start), "end")
    body = code.get(Control, code.row(Control, rows, condition), "end")
    end = code.get(Control, "%row", "end")
    walk(start, condition)
    predicate, counter = code.get(Control, "%row", "test"), code.get(Control, "%row", "counter")
    has_condition = code.let(f"icmp sge i64 {predicate}, 0")
    looks = code.let(
        f"icmp ult i64 {code.get(Control, '%row', 'task')}, {code.get(Context, '%context', 'polled')}"
    )
    with code.cycle(("i64", "0")) as loop:
        (done,) = loop.carried
        code.leave(loop, code.let(f"icmp sge i64 {done}, {length}"))
        with code.when(has_condition):
            walk(condition, body)
            code.leave(loop, code.let(f"icmp ne i64 {_status(code)}, 0"))
            memory = code.let(f"load ptr, ptr {code.element(buffers, 'ptr', predicate)}")
            holds = code.let(f"load i8, ptr {memory}")
            code.leave(loop, code.let(f"icmp eq i8 {holds}, 0"))
        walk(body, end)
        code.leave(loop, code.let(f"icmp ne i64 {_status(code)}, 0"))
        with _each(code, windows, "window", "windows") as number:
            row = code.row(WindowRow, windows, number)
            at = place(WindowRow, row, "buffer")
            moved = code.element(code.let(f"load ptr, ptr {at}"), "i8", code.get(WindowRow, row, "stride"))
            code.do(f"store ptr {moved}, ptr {at}")
        with _each(code, swaps, "swap", "swaps") as number:
            row = code.row(Swap, swaps, number)
            places = [place(Swap, row, name) for name in ("first", "second")]
            held = [code.let(f"load ptr, ptr {at}") for at in places]
            for at, pointer in zip(places, reversed(held), strict=True):
                code.do(f"store ptr {pointer}, ptr {at}")
        following = code.let(f"add i64 {done}, 1")
        turn = code.let(f"icmp eq i64 {code.let(f'and i64 {following}, {ASK_EVERY - 1}')}, 0")
        with code.when(code.let(f"and i1 {turn}, {looks}")):
            code.do("call void @ask(ptr %context)")
        loop.next = [following]
    with code.when(code.let(f"icmp sge i64 {counter}, 0")):
        memory = code.let(f"load ptr, ptr {code.element(buffers, 'ptr', counter)}")
        code.do(f"store i64 {done}, ptr {memory}")
    code.do("ret void")
    return _function(code, "internal void @loop(ptr %context, ptr %team, ptr %row, i64 %number)")


def _branch() -> str:
    code = Code()
    buffers, rows = code.get(Context, "%context", "buffers"), code.get(Context, "%context", "rows")
    index = code.let(f"sext i32 {_held(code, buffers, 'i32', 'test')} to i64")
    end = code.get(Control, "%row", "end")
    with code.cycle(("i64", code.let("add i64 %number, 1")), ("i64", index)) as arms:
        arm, left = arms.carried
        after = code.get(Control, code.row(Control, rows, arm), "end")
        chosen = code.let(f"icmp sle i64 {left}, 0")
        last = code.let(f"icmp uge i64 {after}, {end}")
        with code.when(code.let(f"or i1 {chosen}, {last}")):
            first = code.let(f"add i64 {arm}, 1")
            code.do(f"call void @walk(ptr %context, ptr %team, i64 {first}, i64 {after})")
            code.give_back("void")
        arms.next = [after, code.let(f"sub i64 {left}, 1")]
    code.do("unreachable")
    return _function(code, "internal void @branch(ptr %context, ptr %team, ptr %row, i64 %number)")


def _walk() -> str:
    code = Code()
    rows = code.get(Context, "%context", "rows")
    with code.cycle(("i64", "%first")) as each:
        (number,) = each.carried
        code.leave(each, code.let(f"icmp uge i64 {number}, %last"))
        row = code.row(Control, rows, number)
        kind = code.get(Control, row, "kind")

        def is_kind(which: RowKind) -> str:
            return code.let(f"icmp eq i64 {kind}, {which.number}")

        def run() -> None:
            alone = code.let(f"icmp ne i64 {code.get(Control, row, 'alone')}, 0")
            nobody = code.let(f"or i1 {alone}, {code.let('icmp eq ptr %team, null')}")
            code.choose(
                nobody,
                lambda: code.do(f"call void @work_alone(ptr %context, ptr {row})"),
                lambda: code.do(f"call void @region(ptr %context, ptr %team, ptr {row})"),
            )

        def steer(function: str) -> None:
            code.do(f"call void @{function}(ptr %context, ptr %team, ptr {row}, i64 {number})")

        def other() -> None:
            code.choose(is_kind(RowKind.LOOP), lambda: steer("loop"), lambda: steer("branch"))

        code.choose(is_kind(RowKind.RUN), run, other)
        code.leave(each, code.let(f"icmp ne i64 {_status(code)}, 0"))
        each.next = [code.get(Control, row, "end")]
    code.do("ret void")
    return _function(code, "internal void @walk(ptr %context, ptr %team, i64 %first, i64 %last)")


def _call() -> str:
    code = Code()
    code.put(Context, "%context", "status", 0)
    flags = code.get(Context, "%context", "flags")
    sequential = code.let(f"and i64 {flags}, {ContextFlags.SEQUENTIAL.value}")
    small = code.let(f"icmp ne i64 {sequential}, 0")

    def team() -> str:
        threads = code.get(Team, "%team", "threads")
        code.give_back_unless(code.let(f"icmp ne i32 {threads}, 0"), f"i64 {NO_TEAM}")
        single = code.let(f"icmp eq i32 {threads}, 1")
        return code.let(f"select i1 {single}, ptr null, ptr %team")

    with_whom = code.either(small, "ptr", lambda: "null", team)
    rows = code.get(Context, "%context", "row_count")
    mode = code.call("i64", "enter_mode", ("ptr", "%context"))
    code.do(f"call void @walk(ptr %context, ptr {with_whom}, i64 0, i64 {rows})")
    code.do(f"call void @leave_mode(i64 {mode})")
    code.do(f"ret i64 {_status(code)}")
    return _function(code, "i64 @graphc_call(ptr %context, ptr %team)")
