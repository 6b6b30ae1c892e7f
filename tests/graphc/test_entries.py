"""Packages with several entries: functions by name that share their state, and sizes of the batch by the arguments."""

from __future__ import annotations

import subprocess
import sys
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


def functions() -> dict[str, gx.Executable]:
    """A training step, and the same model's prediction."""
    model = nn.Sequential(nn.Linear(8, 16), nn.relu, nn.Linear(16, 3))
    optimizer = optim.Adam(model, lr=1e-2)

    @gx.compile(inputs=[gx.spec((None, 8)), gx.spec((None,), "int64")])
    def train_step(x: Any, y: Any) -> Any:
        loss = nn.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    predict = gx.compile(lambda x: nn.softmax(model(x)), inputs=[gx.spec((None, 8))])
    return {"train_step": train_step, "predict": predict}


def test_functions_share_their_state(tmp_path: Path) -> None:
    made = functions()
    gx.build(tmp_path / "model.gxp", made, batch=16)
    loaded = gx.load(tmp_path / "model.gxp")
    assert list(loaded) == list(loaded.keys()) == ["train_step", "predict"] and len(loaded) == 2
    assert loaded["predict"].variables["0.weight"] is loaded["train_step"].variables["0.weight"]
    for _ in range(3):
        assert loaded["train_step"](X, Y).item() == made["train_step"](X, Y).item()
        np.testing.assert_array_equal(loaded["predict"](X).numpy(), made["predict"](X).numpy())
    loaded.variables["0.weight"].assign(np.zeros((16, 8), np.float32))
    assert np.ptp(loaded["predict"](X).numpy(), axis=0).max() == 0  # no row differs any more


def test_what_functions_have_in_common_is_kept_once(tmp_path: Path) -> None:
    gx.build(tmp_path / "model.gxp", functions(), batch=16)
    members = read_archive(tmp_path / "model.gxp", FORMAT, VERSION)
    objects = [n for n in members if n.endswith(".o")]
    loaded = gx.load(tmp_path / "model.gxp")
    named = [place for f in loaded for e in loaded[f].entries for place in e.entry.files.values()]
    assert len(objects) < len([n for n in named if n.endswith(".o")])
    assert sum(n.startswith("graphs/") for n in members) == 2


def test_another_process_loads_them(tmp_path: Path) -> None:
    made = functions()
    gx.build(tmp_path / "model.gxp", made, batch=[1, 16])
    np.savez(tmp_path / "xy.npz", x=X, y=Y)
    code = """
import sys, numpy as np, graphc as gx
p, data = gx.load("model.gxp"), np.load("xy.npz")
print(p["train_step"](data["x"], data["y"]).item(), *p["predict"](data["x"][:1]).tolist()[0])
assert not {"graphc.backends.llvm.lower", "graphc.passes.fuse"} & set(sys.modules)
"""
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": here, "PATH": "/usr/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    expected = [made["train_step"](X, Y).item(), *made["predict"](X[:1]).numpy()[0].tolist()]
    assert [float(word) for word in done.stdout.split()] == expected


def test_an_entry_is_found_by_the_types_of_arguments(tmp_path: Path) -> None:
    double = gx.compile(lambda x: x * 2, inputs=[gx.spec((None, 3))])
    double.build(tmp_path / "double.gxp", kind="package", batch=[1, 4, 4])
    loaded = gx.load(tmp_path / "double.gxp")
    for size in (1, 4, 1, 4):
        x = np.full((size, 3), size, np.float32)
        assert loaded(x).tolist() == (2 * x).tolist()
    assert len(loaded.entries) == 2 and loaded[loaded.__name__] is loaded
    with pytest.raises(gx.ShapeError, match=r"float32\[1, 3\].*or .*float32\[4, 3\]") as error:
        loaded(np.ones((2, 3), np.float32))
    assert "got: x: float32[2, 3]" in str(error.value)
    with pytest.raises(gx.TraceError, match="arguments, or specs, say which"):
        loaded.report()
    assert loaded.graph(gx.spec((4, 3))).inputs[0].shape == (4, 3)
    assert "float32[1, 3]" in loaded.source(gx.spec((1, 3))) and loaded.report(np.ones((1, 3), np.float32))
    inside = gx.compile(lambda x: loaded(x) + loaded(x[:1])[0])
    np.testing.assert_array_equal(inside(np.ones((4, 3), np.float32)).numpy(), np.full((4, 3), 4))


def test_sizes_count_where_they_are_open(tmp_path: Path) -> None:
    made = {
        "batched": gx.compile(lambda x: x + 1, inputs=[gx.spec((None,))]),
        "timed": gx.compile(lambda x: x + 2, inputs=[gx.spec(("time", 2))]),
        "fixed": gx.compile(lambda x: x + 3, inputs=[gx.spec((5,))]),
        "nothing": gx.compile(lambda: gx.ones(2)),
    }
    gx.build(tmp_path / "f.gxp", made, batch=(1, 2), sizes={"time": 3})
    loaded = gx.load(tmp_path / "f.gxp")
    assert {name: len(loaded[name].entries) for name in loaded} == {"batched": 2, "timed": 1, "fixed": 1, "nothing": 1}
    assert loaded["timed"](gx.zeros((3, 2))).tolist() == [[2, 2]] * 3 and loaded["nothing"]().tolist() == [1, 1]
    with pytest.raises(gx.ShapeError, match="no function leaves open"):
        gx.build(tmp_path / "g.gxp", {"fixed": made["fixed"]}, batch=3)
    with pytest.raises(gx.ShapeError, match="open: time"):
        gx.build(tmp_path / "g.gxp", made, batch=3)
    with pytest.raises(gx.ShapeError, match="at least one size"):
        gx.build(tmp_path / "g.gxp", made, batch=[], sizes={"time": 1})
    assert not (tmp_path / "g.gxp").exists()


def test_different_variables_have_different_names(tmp_path: Path) -> None:
    def scaled(by: float) -> gx.Executable:
        model = nn.Linear(2, 2)
        model.weight.assign(np.eye(2, dtype=np.float32) * by)
        return gx.compile(lambda x: x @ model.weight.value, inputs=[gx.spec((2, 2))])

    gx.build(tmp_path / "f.gxp", {"twice": scaled(2), "thrice": scaled(3)})
    loaded = gx.load(tmp_path / "f.gxp")
    assert list(loaded.variables) == ["weight", "thrice.weight"]
    assert loaded["twice"](gx.ones((2, 2))).tolist() == [[2, 2]] * 2
    assert loaded["thrice"](gx.ones((2, 2))).tolist() == [[3, 3]] * 2


def test_what_can_not_be_built_says_why(tmp_path: Path) -> None:
    made, path = functions(), tmp_path / "f"
    with pytest.raises(gx.OptionError, match="by name"):
        gx.build(path, [made["predict"]])  # type: ignore[arg-type]
    with pytest.raises(gx.OptionError, match="compiled functions"):
        gx.build(path, {"f": lambda x: x})  # type: ignore[dict-item]
    with pytest.raises(gx.OptionError, match="is a string"):
        gx.build(path, {1: made["predict"]})  # type: ignore[dict-item]
    with pytest.raises(gx.TraceError, match="f does not say what its inputs are"):
        gx.build(path, {"f": gx.compile(lambda x: x)})
    with pytest.raises(gx.UnsupportedError, match="one function"):
        gx.build(path, made, batch=1, kind="program")
    with pytest.raises(gx.UnsupportedError, match="one function"):
        made["predict"].build(path, batch=[1, 2])
    gx.build(tmp_path / "predict", {"predict": made["predict"]}, batch=1, kind="program")
    assert (tmp_path / "predict").stat().st_mode & 0o100 and not path.exists()


def test_several_functions_are_not_one(tmp_path: Path) -> None:
    gx.build(tmp_path / "f.gxp", functions(), batch=2)
    loaded = gx.load(tmp_path / "f.gxp")
    for use in (loaded, loaded.report, loaded.benchmark, gx.compile(lambda x: loaded(x))):
        with pytest.raises(gx.TraceError, match=r"f\.gxp holds several functions: train_step, predict"):
            use(X[:2])
    with pytest.raises(KeyError, match="train_step, predict"):
        loaded["evaluate"]
    assert "train_step(" in repr(loaded) and "predict(" in repr(loaded)


def test_earlier_formats_are_refused_by_name(tmp_path: Path) -> None:
    write_archive(tmp_path / "f.gxp", FORMAT, 1, {})
    with pytest.raises(gx.PackageError, match="version 1"):
        gx.load(tmp_path / "f.gxp")
