"""Executables: their stages, concurrency, and how they live in a process."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.driver.specialization import MISS
from graphc.frontend import context, pytree
from graphc.settings import Settings

X = np.arange(4, dtype=np.float32)


def test_decorator_with_and_without_options() -> None:
    @gx.compile
    def plain(x: Any) -> Any:
        """Says what it does."""
        return x + 1

    @gx.compile(backend="reference", inputs=[gx.spec((4,))])
    def with_options(x: Any) -> Any:
        return x + 1

    assert plain(X).tolist() == with_options(X).tolist() == (X + 1).tolist()
    assert plain.__name__ == "plain" and plain.__doc__ == "Says what it does." and "plain" in repr(plain)


def test_graph_is_optimized_and_trace_is_not() -> None:
    f = gx.compile(lambda x: x * 1 + 0)
    assert not [n for n in f.graph(X).nodes if n.op.name == "multiply"]
    assert [n for n in gx.trace(f, X).nodes if n.op.name == "multiply"]


def test_stages_do_not_run_the_function() -> None:
    v = gx.Variable(0.0)

    @gx.compile
    def f(x: Any) -> None:
        v.assign(v + gx.sum(x))

    f.graph(X)
    assert v.item() == 0 and len(f.specializations) == 1
    f(X)
    assert v.item() == 6 and len(f.specializations) == 1


def test_every_stage_can_be_read_whatever_backend_runs() -> None:
    f = gx.compile(lambda x: gx.sum(gx.exp(x)))
    (step,) = f.schedule(X).steps
    assert step.ops == ("exp", "sum")
    expected = {
        "graph": "exp(%x)",
        "schedule": "float32[4] input 0",
        "llvm-ir": "define ",
        "asm": ".globl",
        "triton": "tl.reduce(exp",
        "ptx": ".visible .entry",
    }
    for stage, text in expected.items():
        assert text in f.source(X, stage=stage), stage
    with pytest.raises(gx.OptionError, match="use one of 'graph', 'dot', 'schedule'"):
        f.source(X, stage="bytecode")


def test_report() -> None:
    f = gx.compile(lambda x: gx.sum(gx.exp(x)), backend="llvm")
    report = f.report(X)
    assert report.backend == "llvm" and len(report.kernels) == 1 and report.kernels[0].plan
    assert list(report.seconds) == ["optimize", "schedule", "build"] and "exp sum" in str(report)


def test_arguments_are_not_kept_alive() -> None:
    class Array(np.ndarray):
        pass

    f = gx.compile(lambda batch, scale: batch["x"] * scale)
    x = np.ones(3, np.float32).view(Array)
    reference = weakref.ref(x)
    f({"x": x}, 2.0)
    del x
    gc.collect()
    assert reference() is None


def test_dumps_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(backend="reference", dump=frozenset({"graph", "schedule"}), time=True)
    token = context._context.set(context.untraced(settings))
    try:
        gx.compile(lambda x: gx.exp(x))(X)
    finally:
        context._context.reset(token)
    printed = capsys.readouterr().err
    assert "-- graph\ngraph(%x: float32[4])" in printed and "-- schedule\nschedule arena" in printed
    assert [line.split(":")[1].strip() for line in printed.splitlines() if line.startswith("graphc: ")] == [
        "optimize",
        "schedule",
        "build",
    ]


def test_thread_count() -> None:
    assert gx.thread_count() >= 1
    with gx.using(threads=1):
        assert gx.thread_count() == 1


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_programs(tmp_path: Path) -> None:
    w = gx.Variable([1.0, 2.0])
    f = gx.compile(lambda x: x * w, backend="llvm", inputs=[gx.spec((None, 2))])
    with pytest.raises(gx.ShapeError, match="open: batch"):
        f.build(tmp_path / "scale")
    f.build(tmp_path / "scale", batch=3)
    np.save(tmp_path / "x.npy", np.ones((3, 2), np.float32))
    subprocess.run([tmp_path / "scale", tmp_path / "x.npy", "-o", tmp_path / "y.npy"], check=True)
    assert np.load(tmp_path / "y.npy").tolist() == [[1, 2]] * 3


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_a_returned_dict_keeps_its_names_and_order(tmp_path: Path) -> None:
    def f(x: gx.Tensor) -> dict[str, Any]:
        return {"z": x + 1, "a": {"second": x + 2, "first": [x + 3, (x + 4, "text")]}, "m": None, "b c": x + 5}

    names = ["z", "a.second", "a.first.0", "a.first.1.0", "b_c"]
    compiled = gx.compile(f, backend="llvm", inputs=[gx.spec((2,))])
    x = np.zeros(2, np.float32)
    compiled.build(tmp_path / "f")
    compiled.build(tmp_path / "f.gxp", kind="package")
    for result in (compiled(x), gx.load(tmp_path / "f.gxp")(x), gx.compile(gx.load(tmp_path / "f.gxp"))(x)):
        assert list(result) == ["z", "a", "m", "b c"] and list(result["a"]) == ["second", "first"]
        a = result["a"]
        values = [result["z"], a["second"], a["first"][0], a["first"][1][0], result["b c"]]
        assert [v.tolist() for v in values] == [[i, i] for i in range(1, 6)]
    shown = subprocess.run([tmp_path / "f", "--help"], check=True, capture_output=True, text=True).stdout
    assert " ".join(f"-o {name}.npy" for name in names) in shown
    np.save(tmp_path / "x.npy", x)
    files = [tmp_path / f"{name}.npy" for name in names]
    subprocess.run([tmp_path / "f", tmp_path / "x.npy", *(a for f in files for a in ("-o", f))], check=True)
    assert [np.load(f).tolist() for f in files] == [[i, i] for i in range(1, 6)]


@pytest.mark.parametrize(
    ("result", "names"),
    [(1, ["output0"]), ((1, 1), ["output0", "output1"]), ([{"a": 1}], ["output0.a"]), ({"a": (1, 1)}, ["a.0", "a.1"])],
)
def test_names_of_results(result: Any, names: list[str]) -> None:
    f = gx.compile(lambda x: pytree.unflatten(result, [x + n for n in pytree.leaves(result)]))
    assert list(f.specialize(X).result.names) == names


def test_what_can_not_be_built(tmp_path: Path) -> None:
    f = gx.compile(lambda x: x * 2)
    with pytest.raises(gx.TraceError, match="does not say what its inputs are"):
        f.build(tmp_path / "f")
    with pytest.raises(gx.UnsupportedError, match="reference backend makes no standalone programs"):
        f.build(tmp_path / "f", inputs=[gx.spec((2,))])
    with pytest.raises(gx.UnsupportedError, match="no libraries yet"):
        f.build(tmp_path / "f", kind="library", inputs=[gx.spec((2,))])
    with pytest.raises(gx.UnsupportedError, match="for this machine only"):
        f.build(tmp_path / "f", target="aarch64-linux-gnu", inputs=[gx.spec((2,))])
    with pytest.raises(gx.OptionError, match=r"'programme'\n.*\n.*'program', 'library', 'package'"):
        f.build(tmp_path / "f", kind="programme", inputs=[gx.spec((2,))])
    w = gx.Variable(1.0, name="counter")
    count = gx.compile(lambda: w.assign(w + 1), backend="llvm")
    with pytest.raises(gx.UnsupportedError, match="which assigns to counter"):
        count.build(tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_benchmarks_leave_variables_alone() -> None:
    v = gx.Variable(0.0)

    @gx.compile
    def step(x: Any) -> None:
        v.assign(v + gx.sum(x))

    measured = step.benchmark(gx.spec((4,)), seconds=0.01)
    assert v.item() == 0 and measured.best <= measured.median and " a call, " in str(measured)
    compared = gx.bench(step, [X], backends=["reference", "llvm"], seconds=0.01)
    assert list(compared.results) == ["reference", "llvm"] and not compared.missing and v.item() == 0
    assert gx.bench(lambda: None, seconds=0.001).results.keys() == {"reference"}


def test_the_fast_call_accepts_only_what_it_was_made_for() -> None:
    f = gx.compile(lambda x, flag: x + 1 if flag else x)
    f(X, True)
    (fast,) = f._recent[1]
    assert fast((X, True)) is not MISS and fast((gx.asarray(X), True)) is not MISS
    for args in ((X,), (X, 1), (X, False), (X[:3], True), (X.astype(np.float64), True), (X[::2], True),
                 (np.arange(8, dtype=np.float32)[::2], True), (gx.Variable(X), True), (True, X), (X, True, X),
                 (X.reshape(2, 2), True), ([0, 1, 2, 3], True), (X.astype(">f4"), True)):  # fmt: skip
        assert fast(args) is MISS, args


def test_errors_of_the_function_are_its_own() -> None:
    @gx.compile
    def f(x: Any) -> Any:
        return x + undefined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError):
        f(X)
    with pytest.raises(gx.DTypeError, match="expected an array") as error:
        gx.compile(lambda x: x + "a")(X)
    assert error.value.where is not None and error.value.where.file == __file__


def test_index_errors_leave_variables_alone() -> None:
    v = gx.Variable(1.0)

    @gx.compile
    def f(x: Any, i: Any) -> Any:
        v.assign(v + 1)
        return gx.take(x, i)

    assert f(X, np.int64(2)).item() == 2 and v.item() == 2
    with pytest.raises(IndexError) as error:
        f(X, np.int64(4))
    assert "return gx.take(x, i)" in str(error.value) and v.item() == 2


def test_concurrent_calls_are_serialized() -> None:
    counter = gx.Variable(np.zeros(64, np.int64))

    @gx.compile
    def step(x: Any) -> Any:
        counter.assign(counter + x)
        return counter.value

    def work() -> None:
        with gx.using(backend="reference"):
            for _ in range(50):
                seen = step(np.int64(1)).numpy()
                assert (seen == seen[0]).all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert counter.numpy().tolist() == [200] * 64 and len(step.specializations) == 1


def test_tracing_is_of_one_thread() -> None:
    """A trace in this thread does not turn the operations of another one symbolic."""
    results: list[Any] = []

    def other() -> None:
        with gx.using(backend="reference"):
            results.append((gx.asarray(X) + 1).tolist())

    def f(x: Any) -> Any:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=0.2)  # it waits for the call lock that this trace holds, if it is not done
        return x

    gx.trace(f, X)
    assert results == [(X + 1).tolist()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_calls_survive_fork() -> None:
    code = """
import os, threading, numpy as np, graphc as gx
from graphc.hook import call_lock
with gx.using(backend="reference"):
    f = gx.compile(lambda x: x + 1)
    f(np.ones(2))
    held, go = threading.Event(), threading.Event()
    def hold():
        with call_lock:
            held.set(); go.wait(0.3)
    threading.Thread(target=hold).start()
    held.wait()
    child = os.fork()       # while another thread holds the lock
    if child == 0:
        os._exit(0 if f(np.ones(2)).tolist() == [2, 2] else 1)
    status = os.waitpid(child, 0)[1]
    go.set()
    assert status == 0, status
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_import_is_light() -> None:
    """Nothing heavy comes in with `import graphc`: what takes long is imported where it is used."""
    code = "import sys, graphc; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "llvmlite",
        "triton",
        "networkx",
        "optree",
        "torch",
        "jax",
        "ml_dtypes",
        "safetensors",
        "rich",
        "cuda",
    }
    assert not heavy & set(loaded)


def test_calls_that_take_turns_are_all_fast() -> None:
    layer = nn.Dropout(1.0)
    f = gx.compile(lambda x, k: layer(x) * k)
    kinds: list[Any] = [(X, 2.0, False), (X[:3], 2.0, False), (X, np.float32(3), False), (X, 2.0, True)]
    for array, factor, training in 2 * kinds:
        layer.train(training)
        assert f(array, factor).tolist() == (array * 0 if training else array * factor).tolist()
    assert len(f._recent[1]) == 4
    layer.eval()
    two = float("2")  # equal to the literal, another object
    calls: list[Any] = [
        (X, two),
        (X[:3], two),
        (X, np.float32(5)),
        (gx.asarray(X), np.asarray(5, np.float32)),
    ]
    for x, k in calls:
        answers = [c((x, k)) for c in f._recent[1]]
        (answer,) = [a for a in answers if a is not MISS]
        assert answer.tolist() == (np.asarray(x) * np.float32(k)).tolist()
    f(X[:3], two)
    assert f._recent[1][0]((X[:3], two)) is not MISS  # used last, asked first


def test_results_without_arrays_belong_to_the_caller() -> None:
    f = gx.compile(lambda x: {"n": [1, 2]})
    f(X)["n"].append(9)
    assert f(X) == {"n": [1, 2]}


def test_specs_hold_inside_of_traces() -> None:
    inner = gx.compile(lambda x: x * 2, inputs=[gx.spec((None,))])
    outer = gx.compile(lambda x: inner(x=x))
    with pytest.raises(gx.DTypeError, match="input x is declared as float32"):
        outer(np.ones(3))
    assert outer(np.ones(3, np.float32)).tolist() == [2] * 3


class Scaled:
    def __init__(self, by: float) -> None:
        self.by = by

    @gx.compile
    def apply(self, x: Any) -> Any:
        return x * self.by


def test_stages_of_a_method(tmp_path: Path) -> None:
    two, three = Scaled(2.0), Scaled(3.0)
    assert two.apply(X).tolist() == (2 * X).tolist() and three.apply(X).tolist() == (3 * X).tolist()
    assert "multiply" in two.apply.source(X) and len(two.apply.report(X).kernels) == 1
    assert two.apply == two.apply != three.apply and two.apply.__name__ == "apply"
    with gx.using(backend="llvm"):
        two.apply.build(tmp_path / "two", inputs=[gx.spec((4,))])
    assert (tmp_path / "two").exists()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(gx.UnsupportedError, match="use reference or llvm or triton"):
        gx.bench(lambda x: x, [X], backends=["llvm", "abacus"])


def test_what_can_not_be_compiled() -> None:
    number: Any = 3
    spec: Any = gx.spec((3,))
    with pytest.raises(gx.TraceError, match=r"takes a function\n  got: 3\n  at: .*gx.compile\(number"):
        gx.compile(number)
    with pytest.raises(gx.TraceError, match="a spec for each argument"):
        gx.compile(lambda x: x, inputs=spec)
