"""The team, the walker and instances, with hand-written kernels."""

import gc
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from graphc.backends.llvm.native import ControlRow, NativeProgram, RowKind, Table, TaskSpec, rows
from graphc.backends.llvm.run import jit
from graphc.backends.llvm.run.array_call import SYMBOLS, array_call_ir
from graphc.backends.llvm.run.instance import Instance, address
from graphc.backends.llvm.run.runtime import runtime_ir
from graphc.backends.llvm.run.team import Team, process_team, usable_threads
from graphc.backends.llvm.target import host_target
from graphc.errors import CompileError
from graphc.hook import call_lock
from graphc.schedule import Buffer, Space, Window
from graphc.storage import Storage
from graphc.types import TensorType, float32, float64, int32, int64
from tests.backends.llvm import kernels

CALLS = jit.load([jit.compile_object(array_call_ir(), host_target(), verify=True)], SYMBOLS)
RUNTIME = jit.compile_object(runtime_ir(host_target().triple), host_target(), verify=True)


@pytest.fixture(params=[1, 2, 5], ids="threads={}".format)
def team(request):
    """A team of its own: alone, as many as there are processors, and more than that."""
    team = Team(RUNTIME, request.param)
    yield team
    team.stop()


def program(text, tasks, buffers, sequential=False, **more):
    compiled = jit.compile_object(text, host_target(), verify=True)
    parts = dict(objects={"kernels": compiled}, prepare=Table(), arena_bytes=0, prepared_bytes=0, constants=())
    return NativeProgram(main=Table.of(tasks, sequential), buffers=tuple(buffers), **{**parts, **more})


def instance(p, team, variables=()):
    storages = [Storage.over(v) for v in variables]
    return Instance(p, jit.load(p.objects.values(), p.symbols), team, CALLS, storages)


def buffer(number, dtype, size, space, position=0, offset=0):
    return Buffer(number, TensorType(dtype, (size,)), space, position, offset)


def chain(n, steps, grain):
    """out = input reversed `steps` times: each task reads what other threads wrote in the one before."""
    buffers = [buffer(0, float32, n, Space.INPUT), buffer(1, int64, 1, Space.CONSTANT),
               buffer(2, float32, n, Space.ARENA), buffer(3, float32, n, Space.ARENA, offset=64 * n),
               buffer(4, float32, n, Space.OUTPUT)]  # fmt: skip
    ends = [0, *(2 + i % 2 for i in range(steps - 1)), 4]
    tasks = [TaskSpec("reverse", (a, 1, b), n, grain) for a, b in itertools.pairwise(ends)]
    return program(kernels.REVERSE, tasks, buffers, arena_bytes=128 * n, constants=(np.array([n]),))


@pytest.mark.parametrize("grain", [1, 7, 1000])
def test_barriers_order_tasks(team, grain):
    n, steps = 1000, 51
    run = instance(chain(n, steps, grain), team)
    x, y = np.random.rand(n).astype("f4"), np.empty(n, "f4")
    for _ in range(50):
        y[:] = -1
        assert run.call([address(x), address(y)]) == 0
        np.testing.assert_array_equal(y, x[::-1])


def turning(n, length, grain, limit=-1):
    """An array reversed `length` times, in a loop whose two places change; a branch by the sign of an input behind it,
    which reverses once more or not."""
    window = [Buffer(k, TensorType(float32, (n,)), Space.WINDOW) for k in (5, 6)]
    buffers = [buffer(0, float32, n, Space.INPUT), buffer(1, int64, 1, Space.CONSTANT),
               buffer(2, float32, n, Space.ARENA), buffer(3, float32, n, Space.ARENA, offset=64 * n),
               buffer(4, float32, n, Space.OUTPUT), *window, buffer(7, int32, 1, Space.INPUT, 1),
               buffer(8, int64, 1, Space.OUTPUT, 1), buffer(9, int64, 1, Space.INPUT, 2)]  # fmt: skip

    def row(kind, end, task, **more):
        return ControlRow(kind, end, task, **more)

    run, block = RowKind.RUN, RowKind.BLOCK
    rows = (
        row(RowKind.LOOP, 6, 0, length=length, limit=limit, counter=8, windows=2, swaps=1),
        row(block, 3, 0), row(run, 3, 0, count=2),  # reversed twice into the first place
        row(block, 4, 2),
        row(block, 6, 2), row(run, 6, 2, count=1, asks=True),
        row(RowKind.BRANCH, 11, 3, test=7),
        row(block, 9, 3), row(run, 9, 3, count=1),
        row(block, 11, 4), row(run, 11, 4, count=2),
    )  # fmt: skip
    pairs = [(0, 3), (3, 2), (5, 6), (5, 4), (5, 6), (6, 4)]
    tasks = tuple(TaskSpec("reverse", (a, 1, b), n, grain) for a, b in pairs)
    table = Table(tasks, rows, (Window(5, 2, 0), Window(6, 3, 0)), ((5, 6),))
    compiled = jit.compile_object(kernels.REVERSE, host_target(), verify=True)
    return NativeProgram({"kernels": compiled}, table, Table(), tuple(buffers), 128 * n, 0, (np.array([n]),))


@pytest.mark.parametrize("grain", [1, 7, 1000])
@pytest.mark.parametrize("length", [0, 1, 2, 151])
def test_loops_and_branches(team, grain, length):
    """Each iteration is a region of its own: with several threads, tiles of one must not be taken for another's."""
    n = 300
    x, y, count = np.random.rand(n).astype("f4"), np.empty(n, "f4"), np.zeros(1, "i8")
    for limit in (-1, 9):
        run = instance(turning(n, length, grain, limit), team)
        for asked in (2**40, -5, 1):
            times = max(0, min(asked, length)) if limit > 0 else length
            for arm in (-3, 0, 1, 7):
                y[:] = -1
                arrays = [x, np.array([arm], "i4"), np.array([asked]), y, count]
                assert run.call(list(map(address, arrays))) == 0
                np.testing.assert_array_equal(y, x[::-1] if (times + (1 if arm <= 0 else 2)) % 2 else x)
                assert count[0] == times


@pytest.mark.parametrize("grain", [1, 3, 64, 1000])
@pytest.mark.parametrize("serial", [False, True])
def test_every_unit_is_done_once(team, grain, serial):
    buffers = [buffer(0, int64, 200, Space.VARIABLE, 0), buffer(1, int64, 200, Space.VARIABLE, 1)]
    count, who = np.zeros(200, "i8"), np.zeros(200, "i8")
    p = program(kernels.MARK, [TaskSpec("mark", (0, 1), 200, grain, serial)] * 3, buffers)
    run = instance(p, team, (count, who))
    for times in range(1, 20):
        assert run.call([]) == 0
        assert (count == 3 * times).all()
    assert len(set(who)) <= (1 if serial else team.threads)


def test_sequential_program_stays_on_the_calling_thread():
    never = Team(RUNTIME, 2)
    buffers = [buffer(0, int64, 9, Space.VARIABLE, 0), buffer(1, int64, 9, Space.VARIABLE, 1)]
    count, who = np.zeros(9, "i8"), np.zeros(9, "i8")
    run = instance(program(kernels.MARK, [TaskSpec("mark", (0, 1), 9)], buffers, sequential=True), never, (count, who))
    assert run.call([]) == 0
    assert set(who) == {threading.get_ident()}
    assert threads_of_this_process() == threads_of_this_process(lambda: run.call([]))


def threads_of_this_process(after=lambda: None):
    after()
    return len(os.listdir("/proc/self/task"))


def test_threads_end_with_stop():
    before = threads_of_this_process()
    team = Team(RUNTIME, 4)
    run = instance(chain(10, 3, 1), team)
    x, y = np.zeros(10, "f4"), np.zeros(10, "f4")
    for _ in range(3):
        run.call([address(x), address(y)])
        assert threads_of_this_process() == before + 3
        team.stop()
        for _ in range(1000):
            if threads_of_this_process() == before:
                break
        assert threads_of_this_process() == before


def test_prepare_runs_its_own_table(team):
    buffers = [buffer(0, float32, 8, Space.VARIABLE), buffer(1, float32, 8, Space.PREPARED),
               buffer(2, float32, 8, Space.INPUT), buffer(3, float32, 8, Space.OUTPUT)]  # fmt: skip
    weights = np.arange(8, dtype="f4")
    p = program(kernels.ADD, [TaskSpec("add", (1, 2, 3), 8, 2)], buffers,
                prepare=Table.of([TaskSpec("add", (0, 0, 1), 8, 2)]), prepared_bytes=64)  # fmt: skip
    run = instance(p, team, (weights,))
    x, y = np.ones(8, "f4"), np.empty(8, "f4")
    for _ in range(3):
        weights += 1
        assert run.prepare() == 0
        assert run.call([address(x), address(y)]) == 0
        np.testing.assert_array_equal(y, 2 * weights + 1)


@pytest.mark.parametrize("bad", [8, -1, 2**62])
def test_bad_index_names_the_task_and_is_forgotten(team, bad):
    buffers = [buffer(0, float32, 8, Space.CONSTANT), buffer(1, int64, 100, Space.INPUT),
               buffer(2, float32, 100, Space.ARENA), buffer(3, float32, 100, Space.OUTPUT)]  # fmt: skip
    table = np.arange(8, dtype="f4")
    tasks = [TaskSpec("gather", (0, 1, 2), 50, 8), TaskSpec("gather", (0, 1, 3), 100, 8)]
    run = instance(program(kernels.GATHER, tasks, buffers, arena_bytes=400, constants=(table,)), team)
    index, y = np.arange(100) % 8, np.empty(100, "f4")
    assert run.call([address(index), address(y)]) == 0
    for position, task in ((70, 1), (30, 0)):
        wrong = index.copy()
        wrong[position] = bad
        y[:] = -1
        assert run.call([address(wrong), address(y)]) == task + 1
        assert run.bad_index == bad
        assert y[position] == 0 if task == 1 else (y == -1).all(), "what comes after a bad index is not carried out"
    assert run.call([address(index), address(y)]) == 0
    np.testing.assert_array_equal(y, table[index])


def test_calls_from_many_threads_are_serialized(team):
    n = 500
    run, other = instance(chain(n, 11, 8), team), instance(chain(n, 4, 8), team)
    failures = []

    def work(seed):
        x, y = np.random.default_rng(seed).random(n, "f4"), np.empty(n, "f4")
        for i in range(100):
            which = (run, other)[i % 2]
            with call_lock:
                which.call([address(x), address(y)])
            if not np.array_equal(y, x if which is other else x[::-1]):
                failures.append(seed)

    workers = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


FORK = """
import os, sys, threading, numpy as np
from tests.backends.llvm.test_runtime import RUNTIME, chain, instance, address
from graphc.backends.llvm.run.team import process_team
team = process_team(RUNTIME)
team.resize(3)
run = instance(chain(300, 5, 4), team)
x, y = np.arange(300, dtype="f4"), np.empty(300, "f4")
def check():
    y[:] = 0
    return run.call([address(x), address(y)]) == 0 and np.array_equal(y, x[::-1])
assert check()
busy = threading.Thread(target=lambda: [check() for _ in range(20000)], daemon=True)
if sys.argv[1] == "busy":
    busy.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if all(check() for _ in range(20)) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    if sys.argv[1] == "idle":
        assert check()
"""


@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_calls_survive_fork(parent):
    """Also with another thread of the parent inside a call, which holds the lock at the moment of the fork."""
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, parent], cwd=root, timeout=60,
                            env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_process_team_is_one_and_bounded():
    team = process_team(RUNTIME)
    assert process_team(RUNTIME, 1) is team and team.threads == 1
    assert process_team(RUNTIME, 10**6) is team and team.threads == usable_threads()


@pytest.mark.parametrize("files, cgroup, expected", [
    ({"cpu.max": "max 100000"}, "0::/", 64),
    ({"cpu.max": "250000 100000"}, "0::/", 2),
    ({"cpu.max": "50000 100000"}, "0::/", 1),
    ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
    ({"cpu.max": "400000 100000"}, "0::/not/visible/here", 4),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/", 64),
    ({"cpu/d/cpu.cfs_quota_us": "200000", "cpu/d/cpu.cfs_period_us": "100000"}, "1:x:/\n3:cpu,cpuacct:/d", 2),
])  # fmt: skip
def test_cpu_quota(tmp_path, monkeypatch, files, cgroup, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    for name, text in {**{f"fs/{k}": v for k, v in files.items()}, "proc/cgroup": cgroup}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert usable_threads(tmp_path / "proc", tmp_path / "fs") == expected


def test_affinity_bounds_the_team(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert usable_threads() == 1


def test_libm_is_there(team):
    buffers = [buffer(0, float64, 5, Space.INPUT), buffer(1, float64, 5, Space.OUTPUT)]
    run = instance(program(kernels.SINE, [TaskSpec("sine", (0, 1), 5)], buffers), team)
    x, y = np.linspace(0, 1, 5), np.empty(5)
    run.call([address(x), address(y)])
    np.testing.assert_allclose(y, np.sin(x), rtol=1e-15)


def test_instance_keeps_what_it_uses(team):
    constant = np.arange(8, dtype="f4")[::1].astype("f4")
    buffers = [buffer(0, float32, 8, Space.CONSTANT), buffer(1, float32, 8, Space.INPUT),
               buffer(2, float32, 8, Space.OUTPUT)]  # fmt: skip
    p = program(kernels.ADD, [TaskSpec("add", (0, 1, 2), 8)], buffers, constants=(constant,))
    run = instance(p, team)
    del p, constant
    gc.collect()
    junk = [np.full(8, 7, "f4") for _ in range(1000)]
    x, y = np.zeros(8, "f4"), np.empty(8, "f4")
    run.call([address(x), address(y)])
    np.testing.assert_array_equal(y, np.arange(8))
    del junk


def test_wrong_number_of_addresses_is_an_error(team):
    run = instance(chain(10, 3, 1), team)
    with pytest.raises(CompileError, match="2 addresses"):
        run.call([0])


def test_instances_come_and_go_while_workers_are_late():
    """More threads than processors, so that some look at tables that are gone unless these are kept."""
    team = Team(RUNTIME, 6, spin=0)
    x, y = np.random.rand(64).astype("f4"), np.empty(64, "f4")
    p = chain(64, 5, 4)
    code = jit.load(p.objects.values(), p.symbols)
    for _ in range(300):
        run = Instance(p, code, team, CALLS)
        for _ in range(3):
            y[:] = -1
            assert run.call([address(x), address(y)]) == 0
            np.testing.assert_array_equal(y, x[::-1])
        del run
    team.stop()


def test_rows_say_when_a_task_may_start():
    def task(units, grain=1, **more):
        return TaskSpec("f", (), units, grain, **more)

    free = dict(barrier=False)
    assert rows([]) == []
    assert rows([task(10, 3, **free), task(5, 5)]) == [(10, 3, 0, 4), (5, 5, 4, 5)]
    assert rows([task(4), task(3, **free), task(2)]) == [(4, 1, 0, 7), (3, 1, 0, 7), (2, 1, 7, 9)]
    assert rows([task(4), task(0), task(2)]) == [(4, 1, 0, 4), (0, 1, 4, 4), (2, 1, 4, 6)]
    assert rows([task(9, 1, serial=True)]) == [(9, 9, 0, 1)]
    serial = dict(serial=True, barrier=False)
    assert rows([task(9, **serial), task(4, **free), task(8, **serial), task(7, **free)]) == [
        (9, 9, 0, 5), (4, 1, 0, 5), (8, 8, 5, 13), (7, 1, 5, 13)]  # fmt: skip
    with pytest.raises(CompileError, match="tiles"):
        rows([task(2**32)])


def test_task_without_grain_is_refused():
    with pytest.raises(CompileError, match="grain"):
        TaskSpec("f", (), 5, 0)


def test_address_is_that_of_the_data():
    for array in (np.zeros(3), np.zeros((4, 4))[1:, 2:], np.array(1.0), np.zeros((0, 3))):
        assert address(array) == array.ctypes.data
