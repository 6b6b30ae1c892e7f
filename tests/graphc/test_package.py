"""Packages: what `build(path, kind="package")` writes and `gx.load` opens."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.driver.archive import read_archive, write_archive
from graphc.driver.package import FORMAT, VERSION

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((16, 8)).astype("f4"), RNG.integers(0, 3, 16)


@pytest.fixture(autouse=True)
def llvm() -> Any:
    with gx.using(backend="llvm"):
        yield


def training() -> tuple[Any, Any]:
    gx.random.seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.relu, nn.Dropout(0.25), nn.Linear(16, 3))
    optimizer = optim.Adam(model, lr=1e-2)

    @gx.compile(inputs=[gx.spec((None, 8)), gx.spec((None,), "int64")])
    def step(x: Any, y: Any) -> Any:
        loss = nn.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    return model, step


def packed(path: Path, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    compiled = function if isinstance(function, gx.Executable) else gx.compile(function)
    compiled.build(path, kind="package", inputs=inputs or None, **options)
    return gx.load(path)


def tables_of(members: dict[str, bytes]) -> str:
    """The member with the tables of the one program."""
    (place,) = (name for name in members if name.startswith("files/") and name.endswith(".json"))
    return place


def test_a_training_step_goes_on_where_it_was(tmp_path: Path) -> None:
    """Weights, moments and random state are as they were, and the copy lives apart from the original."""
    model, step = training()
    for _ in range(3):
        step(X, Y)
    loaded = packed(tmp_path / "step.gxp", step, batch=16)
    before = model.parameters()[0].numpy().copy()
    theirs = [loaded(X, Y).item() for _ in range(5)]
    assert (model.parameters()[0].numpy() == before).all()
    assert theirs == [step(X, Y).item() for _ in range(5)]
    assert (loaded.variables["0.weight"].numpy() == model.parameters()[0].numpy()).all()
    loaded.variables["lr"].assign(0.0)
    weight = loaded.variables["0.weight"].numpy().copy()
    loaded(X, Y)
    assert (loaded.variables["0.weight"].numpy() == weight).all()


def test_variables_are_named_by_their_paths(tmp_path: Path) -> None:
    _, step = training()
    names = list(packed(tmp_path / "step.gxp", step, batch=16).variables)
    assert [n for n in names if n[0] in "03"] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert {"first_moments.3.bias", "second_moments.0.weight", "lr", "beta1", "random_state"} <= {*names}
    assert list(packed(tmp_path / "again.gxp", training()[1], batch=16).variables) == names


def test_paths_in_two_models_are_told_apart(tmp_path: Path) -> None:
    maker, critic, alone = (nn.Sequential(nn.Linear(2, 2)) for _ in range(3))
    of_maker, of_critic = optim.SGD(maker, lr=0.25), optim.SGD(critic, lr=0.5)
    offset = gx.Variable(np.ones(2, np.float32), name="offset")

    def step(x: Any) -> None:
        of_critic.minimize(gx.sum(critic(maker(x) + offset)))
        of_maker.minimize(gx.sum(critic(maker(x))))

    loaded = packed(tmp_path / "step.gxp", step, gx.spec((3, 2)))
    expected = {f"{m}.0.{p}" for m in ("maker", "critic") for p in ("weight", "bias")}
    assert expected | {"offset", "of_maker.lr", "of_critic.lr"} <= {*loaded.variables}
    assert loaded.variables["maker.0.weight"].tolist() == maker[0].weight.tolist()  # type: ignore[attr-defined]
    assert loaded.variables["of_critic.lr"].item() == 0.5
    nameless = packed(tmp_path / "f.gxp", lambda x, both=(alone, maker): both[0](both[1](x)), gx.spec((3, 2)))
    assert list(nameless.variables) == ["0.weight", "0.bias", "0.weight'2", "0.bias'2"]


def test_another_process_loads_it_without_the_model(tmp_path: Path) -> None:
    """Nothing is traced, and LLVM's code generator is not even imported."""
    model, step = training()
    model.eval()
    predict = gx.compile(lambda x: nn.softmax(model(x)))
    predict.build(tmp_path / "p.gxp", kind="package", inputs=[gx.spec((16, 8))])
    np.save(tmp_path / "x.npy", X)
    code = """
import sys, numpy as np, graphc as gx
p = gx.load("p.gxp")
np.save("y.npy", p(np.load("x.npy")))
assert not {"graphc.backends.llvm.lower", "graphc.passes.fuse", "graphc.passes.pipeline"} & set(sys.modules)
assert "load" in p.report().seconds
"""
    here = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": here, "PATH": "/usr/bin"})
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), predict(X).numpy())


def test_arguments_and_results_of_many_kinds(tmp_path: Path) -> None:
    def f(batch: dict[str, Any], scale: float, *, flip: bool = False) -> Any:
        y = batch["x"] * scale + batch["more"][0]
        return {"y": gx.flip(y) if flip else y, "scale": scale, "none": None, "pair": (y, [1, "two"])}

    compiled = gx.compile(f)
    spec = {"x": gx.spec((3,)), "more": [gx.spec((3,), "int32")]}
    loaded = packed(tmp_path / "f.gxp", compiled, spec, 2.0)
    batch = {"x": np.ones(3, np.float32), "more": [np.arange(3, dtype=np.int32)]}
    result, wanted = loaded(batch, 2.0), compiled(batch, 2.0)
    assert list(result) == list(wanted) and result["scale"] == 2.0 and result["none"] is None
    assert result["y"].tolist() == [2, 3, 4] and result["pair"][1] == [1, "two"]
    assert loaded(batch=batch, scale=2.0)["y"].tolist() == [2, 3, 4]
    with pytest.raises(gx.TraceError, match=r"scale=3\.0"):
        loaded(batch, 3.0)
    with pytest.raises(gx.TraceError, match="scale"):
        loaded(batch, 2)
    with pytest.raises(TypeError, match="flop"):
        loaded(batch, 2.0, flop=True)


def test_wrong_arrays_are_refused_by_name(tmp_path: Path) -> None:
    loaded = packed(tmp_path / "double.gxp", lambda x: x * 2, gx.spec((4,)))
    assert loaded(gx.ones(4)).tolist() == loaded(gx.Variable(np.ones(4, np.float32))).tolist() == [2] * 4
    with pytest.raises(gx.ShapeError, match=r"input x is declared as float32\[4\]"):
        loaded(np.ones(5, np.float32))
    with pytest.raises(gx.DTypeError, match=r"float64\[4\]"):
        loaded(np.ones(4))
    with pytest.raises(gx.ArgumentError, match=r"double\.gxp takes"):
        loaded(np.ones(4, np.float32), 1)


def test_a_loaded_function_in_a_trace(tmp_path: Path) -> None:
    count = gx.Variable(np.zeros((), np.float32))

    def f(x: Any, y: Any) -> Any:
        count.assign(count + 1)
        return x - y * count

    loaded = packed(tmp_path / "f.gxp", f, gx.spec((4,)), gx.spec((4,)))
    total = gx.Variable(np.zeros(4, np.float32))

    @gx.compile
    def outer(x: Any) -> Any:
        total.assign(loaded(y=x, x=x * 10))
        return gx.grad(lambda x: gx.sum(loaded(x, x * total)))(x)

    ones = np.ones(4, np.float32)
    assert outer(ones).tolist() == [1 - 2 * 9] * 4  # d/dx of x − x·total·count, total = 10 − 1, count = 2
    assert total.tolist() == [9] * 4 and loaded.variables["variable"].item() == 2 and count.item() == 0


def test_bad_index_in_a_loaded_function(tmp_path: Path) -> None:
    loaded = packed(tmp_path / "f.gxp", lambda x, i: gx.take(x, i), gx.spec((4,)), gx.spec((2,), "int64"))
    assert loaded(np.arange(4, dtype=np.float32), np.array([1, 3])).tolist() == [1, 3]
    with pytest.raises(IndexError, match=r"test_package\.py, line .*take"):
        loaded(np.arange(4, dtype=np.float32), np.array([1, 4]))


def test_other_backends(tmp_path: Path) -> None:
    """A package of any backend loads into any other; those without machine code of their own compile its graph."""
    w = gx.Variable(np.full(4, 3, np.float32))
    f = gx.compile(lambda x: x * w, backend="reference")
    f.build(tmp_path / "f.gxp", kind="package", inputs=[gx.spec((4,))])
    ones = np.ones(4, np.float32)
    assert gx.load(tmp_path / "f.gxp")(ones).tolist() == [3] * 4
    assert gx.load(tmp_path / "f.gxp", backend="llvm")(ones).tolist() == [3] * 4
    packed(tmp_path / "g.gxp", lambda x: x * w, gx.spec((4,)))
    assert gx.load(tmp_path / "g.gxp", backend="reference")(ones).tolist() == [3] * 4


def test_what_a_package_can_not_hold(tmp_path: Path) -> None:
    f = gx.compile(lambda x, key: x)
    with pytest.raises(gx.UnsupportedError, match="a package keeps arguments"):
        f.build(tmp_path / "f.gxp", kind="package", inputs=[gx.spec((4,)), object()])
    assert not list(tmp_path.iterdir())


def test_code_of_another_machine_is_compiled_again(tmp_path: Path) -> None:
    path = tmp_path / "f.gxp"
    packed(path, lambda x: gx.exp(x), gx.spec((4,)))
    members = read_archive(path, FORMAT, VERSION)
    place = tables_of(members)
    tables = json.loads(members[place])
    for change, reason in (
        ({"features": tables["features"] + ",+avx9000"}, "without avx9000"),
        ({"triple": "riscv64-unknown-linux-gnu"}, "riscv64"),
        ({"abi": "0"}, "another version of graphc's runtime"),
    ):
        changed = {**members, place: json.dumps({**tables, **change}).encode()}
        write_archive(path, FORMAT, VERSION, changed)
        with pytest.warns(RuntimeWarning, match=reason):
            loaded = gx.load(path)
        np.testing.assert_allclose(loaded(np.ones(4, np.float32)).numpy(), np.e, rtol=1e-6)
        assert "compiled again" in str(loaded.report())


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "f.gxp"
    w = gx.Variable(np.arange(4, dtype=np.float32))
    packed(path, lambda x: x * w + np.arange(4, dtype=np.float32), gx.spec((4,)))
    good = path.read_bytes()
    for position in [*range(0, len(good), 97), *range(len(good) - 60, len(good))]:
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x41]) + good[position + 1 :])
        try:
            loaded = gx.load(path)
        except gx.PackageError:
            continue
        assert loaded(np.ones(4, np.float32)).tolist() == [0, 2, 4, 6]  # in fields that mean nothing, as zip's dates
    for size in range(0, len(good), 211):
        path.write_bytes(good[:size])
        with pytest.raises(gx.PackageError):
            gx.load(path)
    path.write_bytes(good)
    assert gx.load(path)(np.ones(4, np.float32)).tolist() == [0, 2, 4, 6]


def test_what_is_no_package(tmp_path: Path) -> None:
    path = tmp_path / "f.gxp"
    with pytest.raises(FileNotFoundError):
        gx.load(path)
    path.write_text("hello")
    with pytest.raises(gx.PackageError, match=r"f\.gxp is no graphc package"):
        gx.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(gx.PackageError, match="a zip file of another kind"):
        gx.load(path)
    write_archive(path, FORMAT, VERSION + 1, {})
    with pytest.raises(gx.PackageError, match=f"version {VERSION + 1}"):
        gx.load(path)
    write_archive(path, FORMAT, VERSION, {})
    with pytest.raises(gx.PackageError, match="lacks a part"):
        gx.load(path)


def _tables(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        place = tables_of(members)
        tables = json.loads(members[place])
        change(tables)
        members[place] = json.dumps(tables).encode()

    return apply


def _manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return apply


def _entry(**fields: Any) -> Callable[[dict[str, bytes]], None]:
    """Other fields in the one entry, all of which it has already."""

    def change(manifest: dict[str, Any]) -> None:
        (entry,) = manifest["entries"]
        assert fields.keys() <= entry.keys()
        entry.update(fields)

    return _manifest(change)


MADE_UP: dict[str, Callable[[dict[str, bytes]], Any]] = {
    "a slot beyond the buffers": _tables(lambda t: t["main"]["tasks"][0].update(slots=[99])),
    "a negative slot": _tables(lambda t: t["main"]["tasks"][0].update(slots=[-1])),
    "an arena that is too small": _tables(lambda t: t.update(arena_bytes=0)),
    "a larger output": _tables(
        lambda t: [b["type"].update(shape=[999]) for b in t["buffers"] if b["space"] == "output"]
    ),
    "no output": _tables(lambda t: t["buffers"].pop()),
    "no constants": lambda m: m.update({"constants.safetensors": m["variables.safetensors"]}),
    "a variable of another shape": _manifest(lambda m: m["state"][0]["type"].update(shape=[5])),
    "no state": _manifest(lambda m: m.update(state=[])),
    "an argument of another shape": _entry(arguments={"tuple": [
        {"tuple": [{"array": ["float32", 400]}]}, {"dict": []}]}),
    "arguments of no shape": _entry(arguments=[1, 2]),
    "a field too many": _manifest(lambda m: m.update(more=1)),
    "a number for a name": _entry(name=1),
    "no entry": _manifest(lambda m: m.update(entries=[])),
    "an entry without its graph": _manifest(lambda m: m["entries"].append(m["entries"][0])),
    "a Variable that is not there": _entry(variables=["other"]),
    "a Variable twice": _entry(variables=["w", "w"]),
    "a file that is not there": _entry(files={"tables.json": "0.json"}),
    "no graph": lambda m: m.pop("graphs/0.txt"),
    "no JSON": lambda m: m.update({"manifest.json": b"{"}),
    "no arrays": lambda m: m.update({"variables.safetensors": b"12345678"}),
}  # fmt: skip


def _row(number: int, **change: Any) -> Callable[[dict[str, bytes]], None]:
    return _tables(lambda t: t["main"]["rows"][number].update(change))


def _window(number: int, **change: Any) -> Callable[[dict[str, bytes]], None]:
    return _tables(lambda t: t["main"]["windows"][number].update(change))


# Of a scan of 5 rows in a run, with a loop behind it: what its rows, windows and swaps must not be.
MADE_UP_LOOPS: dict[str, Callable[[dict[str, bytes]], Any]] = {
    "a loop that is too long": _row(0, length=6),
    "a loop of negative length": _row(0, length=-1),
    "an endless scan": _row(0, length=(1 << 63) - 1),
    "a loop without a block": _row(0, end=3),
    "a row that ends in itself": _row(0, end=0),
    "a row that ends behind all": _row(0, end=99),
    "a run in place of a loop": _row(0, kind="run"),
    "a block in place of a loop": _row(0, kind="block"),
    "a branch in place of a loop": _row(0, kind="branch"),
    "a limit that is no number": _row(0, limit=0),
    "a predicate that is no buffer": _row(0, test=99),
    "a counter over an input": _row(0, counter=0),
    "windows of another loop": _row(0, window=1),
    "more windows than there are": _row(0, windows=99),
    "a swap less": _row(0, swaps=0),
    "a task more": _tables(lambda t: t["main"]["rows"][-1].update(count=9)),
    "a window that moves too far": _window(-1, stride=1 << 20),
    "a window that goes back too far": _window(-1, stride=-(1 << 20)),
    "a window on nothing": _window(-1, of=99),
    "a window on itself": _tables(lambda t: t["main"]["windows"][-1].update(of=t["main"]["windows"][-1]["buffer"])),
    "a window that is an output": _window(-1, buffer=0),
    "two windows in one": _tables(lambda t: t["main"]["windows"][0].update(t["main"]["windows"][1])),
    "a swap with itself": _tables(lambda t: t["main"]["swaps"][0].__setitem__(0, t["main"]["swaps"][0][1])),
    "a swap of what moves": _tables(lambda t: t["main"]["swaps"][0].__setitem__(0, t["main"]["windows"][-1]["buffer"])),
    "results over an input": _tables(lambda t: t["main"]["windows"][-1].update(of=t["main"]["windows"][-2]["of"])),
    "a window used before its loop": _tables(lambda t: t["main"]["rows"].insert(0, t["main"]["rows"].pop())),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE_UP_LOOPS)
def test_a_loop_that_is_made_up_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "f.gxp"
    w = gx.Variable(np.eye(8, dtype=np.float32))

    def f(h: Any, x: Any) -> Any:
        return gx.scan(lambda h, x: (gx.tanh(h @ w + x), gx.sum(h, axis=0)), h, x)

    packed(path, f, gx.spec((3, 8)), gx.spec((5, 3, 8)))
    members = read_archive(path, FORMAT, VERSION)
    assert gx.load(path)(np.ones((3, 8), np.float32), np.ones((5, 3, 8), np.float32))[1].shape == (5, 8)
    MADE_UP_LOOPS[name](members)
    write_archive(path, FORMAT, VERSION, members)
    with pytest.raises(gx.PackageError):
        gx.load(path)


@pytest.mark.parametrize("name", MADE_UP)
def test_what_is_made_up_is_found(tmp_path: Path, name: str) -> None:
    """Sealed as it should be, and wrong all the same: no pointer is made of an unchecked number."""
    path = tmp_path / "f.gxp"
    w = gx.Variable(np.arange(400, dtype=np.float32))
    # Two products, so that there is an arena; a constant.
    packed(path, lambda x: gx.sum(gx.outer(x, w) @ gx.outer(w, x)) + np.arange(4, dtype=np.float32), gx.spec((4,)))
    members = read_archive(path, FORMAT, VERSION)
    MADE_UP[name](members)
    write_archive(path, FORMAT, VERSION, members)
    with pytest.raises(gx.PackageError):
        gx.load(path)


def test_a_package_tells_no_folder_and_is_the_same_each_time(tmp_path: Path) -> None:
    model, _ = training()
    model.eval()
    predict = gx.compile(lambda x: model(x))
    for name in "ab":
        predict.build(tmp_path / name, kind="package", inputs=[gx.spec((4, 8))])
    data = (tmp_path / "a").read_bytes()
    assert str(Path(__file__).parent).encode() not in data and b"test_package.py" in data
    members = [read_archive(tmp_path / n, FORMAT, VERSION) for n in "ab"]
    assert members[0].keys() == members[1].keys()
    assert all(members[0][n] == members[1][n] for n in members[0] if n != "manifest.json")  # which tells compile times


def test_threads_of_a_loaded_function(tmp_path: Path) -> None:
    loaded = packed(tmp_path / "f.gxp", lambda x: gx.sum(x * 2, axis=0), gx.spec((500, 300)))
    x = RNG.standard_normal((500, 300)).astype("f4")
    wanted = loaded(x).numpy()
    for threads in (1, 2):
        with gx.using(threads=threads):
            np.testing.assert_array_equal(loaded(x).numpy(), wanted)


def test_arguments_of_a_package_are_told_as_those_of_a_function(tmp_path: Path) -> None:
    f = gx.compile(lambda x, y: x * y, inputs=[gx.spec((2,)), gx.spec(())])
    f.build(tmp_path / "f.gx", kind="package")
    loaded = gx.load(tmp_path / "f.gx")
    assert loaded([1.0, 2.0], 3).tolist() == loaded(x=[1, 2], y=np.float32(3)).tolist() == [3, 6]
    with pytest.raises(gx.ArgumentError, match=r"(?s)<lambda> takes \(x, y\).*no 'y'.*f.gx takes .*\(x: float32"):
        loaded([1.0, 2.0])
    with pytest.raises(gx.ShapeError, match=r"(?s)input x is declared as float32\[2\].*got: float32\[20000\]"):
        loaded([1.0, 2.0] * 10000, 3)
