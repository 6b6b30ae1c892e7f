"""Programs on disk: a process that traces what an earlier one compiled finds the whole program, and nothing stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
MODEL = """
import sys
import numpy as np, graphc as gx
from graphc import nn, optim
gx.random.seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.relu, nn.Linear(16, 3))
optimizer = optim.Adam(model, lr=1e-2)
@gx.compile
def step(x, y):
    loss = nn.cross_entropy(model(x), y)
    optimizer.minimize(loss)
    return loss, model(x)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((16, 8)).astype("f4"), rng.integers(0, 3, 16)
print([float(step(x, y)[0]).hex() for _ in range(3)])
print("graphc.passes.fuse" in sys.modules)
"""


def run(code: str, cache: Path, **environment: str) -> str:
    """What the code prints, as a script of its own, so that it has lines."""
    script = cache.with_suffix(".py")
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(HERE), "GRAPHC_CACHE_DIR": str(cache), **environment},
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_second_process_loads(cache: Path) -> None:
    first, second = run(MODEL, cache), run(MODEL, cache)
    assert first.splitlines()[0] == second.splitlines()[0]
    assert first.splitlines()[1] == "True" and second.splitlines()[1] == "False"


@pytest.mark.parametrize("change", [{"GRAPHC_CHECK": "1"}, {"GRAPHC_CACHE": "0"}, {"GRAPHC_DUMP": "passes"}], ids=str)
def test_who_wants_to_see_or_check_compiles(cache: Path, change: dict[str, str]) -> None:
    first = run(MODEL, cache)
    assert run(MODEL, cache, **change).splitlines()[-1] == "True"
    assert first.splitlines()[0] in run(MODEL, cache, **change)


def test_damaged_entries_are_compiled_again(cache: Path) -> None:
    first = run(MODEL, cache)
    for entry in cache.iterdir():
        data = entry.read_bytes()
        entry.write_bytes(data[:-100] + bytes(100))
    assert run(MODEL, cache) == first
    assert run(MODEL, cache).splitlines()[-1] == "False", "and kept again"


LOOPS = """
import sys
import numpy as np, graphc as gx
w = gx.Variable(np.eye(4, dtype=np.float32))
def body(c, i):
    c = gx.cond(gx.sum(c) > 2, lambda: c @ w * {number}, lambda: gx.exp(c))
    return c, {blank}gx.take(c, i)
f = gx.compile(lambda x, i: gx.grad(lambda x: gx.sum(gx.scan(body, x, i)[1]))(x))
try:
    print(f(np.ones(4, np.float32), np.array([1, 0, {index}])).tolist())
except IndexError as error:
    print(error)
print("graphc.passes.fuse" in sys.modules)
"""


def test_programs_with_bodies_are_kept_with_all_that_is_in_them(cache: Path) -> None:
    same = dict(number="2.0", blank="", index="3")
    results = []
    for change in ({}, {}, {"number": "3.0"}, {"blank": "\\\n"}, {"index": "4"}, {"blank": "\\\n", "index": "4"}):
        results.append(run(LOOPS.format(**{**same, **change}), cache).splitlines())
    compiled = [r[-1] for r in results]
    assert compiled == ["True", "False", "True", "True", "False", "False"]
    assert results[0][0] == results[1][0] == results[3][0] != results[2][0]
    assert "line 7" in results[4][2] and "line 8" in results[5][2]


CHANGES = """
import numpy as np, graphc as gx
table = np.{table}
f = gx.compile(lambda x, i: gx.take(x * {number} + table, i))
{blank}try:
    print(f(np.ones(4, np.float32), np.array([1, {index}])).tolist())
except IndexError as error:
    print(error)
print([k.plan for k in f.report(np.ones(4, np.float32), np.array([0, 0])).kernels])
"""


def test_nothing_is_stale(cache: Path) -> None:
    """Other numbers, other constants, other lines: the same file and function, another program."""
    same = dict(table="arange(4, dtype=np.float32)", number="2.0", blank="", index="3")
    results = []
    for change in ({}, {"number": "3.0"}, {"table": "arange(1, 5, dtype=np.float32)"}, {"blank": "\n\n"}, {}):
        results.append(run(CHANGES.format(**{**same, **change}), cache).splitlines())
    assert [r[0] for r in results] == ["[3.0, 5.0]", "[4.0, 6.0]", "[4.0, 6.0]", "[3.0, 5.0]", "[3.0, 5.0]"]
    assert results[0][1] == results[4][1] and "plan" not in results[0][1] and len(results[4][1]) > 10


def test_errors_name_the_line_as_it_is_now(cache: Path) -> None:
    same = dict(table="arange(4, dtype=np.float32)", number="2.0", blank="", index="7")
    for blank in ("", "\n\n", "\n\n"):
        moved = CHANGES.format(**{**same, "blank": blank}).replace("f = gx", f"{blank}f = gx")
        line = next(i for i, text in enumerate(moved.splitlines(), 1) if text.startswith("f = gx"))
        assert f"cache.py, line {line}:  f = gx.compile" in run(moved, cache).replace('"', "")


USER_OP = """
import sys
import numpy as np, graphc as gx
from graphc.op import Kind, Op
from graphc.ops import rules
from graphc.frontend.emit import emit, operation, as_tensor
shift = Op("shift", Kind.ELEMENTWISE, infer=rules.unary("shift", rules.FLOATS), reference=lambda x: x + {by},
           scalar=lambda s, x: x + {by})
@operation
def shifted(x):
    return emit(shift, as_tensor(x))
print(gx.compile(lambda x: shifted(x))(np.zeros(3, np.float32)).tolist())
"""


def test_ops_of_users_are_not_kept(cache: Path) -> None:
    for by in ("1.0", "2.0"):
        assert run(USER_OP.format(by=by), cache).strip() == f"[{by}, {by}, {by}]"


CHANGED = """
import shutil, sys
import numpy as np, graphc as gx
from pathlib import Path
if sys.argv[1:]:
    source = Path(gx.__file__).parent / sys.argv[1]
    if len(sys.argv) > 2: gx.compile(lambda x: x * 2)(np.ones(3))     # first with the sources as they were
    source.write_text(source.read_text() + "# changed")
print(gx.compile(lambda x: gx.exp(x) * 3)(np.ones(3)).shape)
"""


@pytest.mark.parametrize("source, after_a_compile", [("passes/fuse.py", True), ("ops/views.py", False)])
def test_sources_that_change_after_the_import(cache: Path, tmp_path: Path, source: str, after_a_compile: bool) -> None:
    """What a process makes of the old sources is not kept as the work of the new ones."""
    copy = tmp_path / "copy"
    shutil.copytree(HERE / "graphc", copy / "graphc", symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    time.sleep(0.05)  # the copy is older than the process

    def run_copy(*arguments: str) -> set[str]:
        script = tmp_path / "script.py"
        script.write_text(CHANGED)
        environment = {**os.environ, "PYTHONPATH": str(copy), "GRAPHC_CACHE_DIR": str(cache)}
        subprocess.run([sys.executable, script, *arguments], env=environment, check=True, timeout=60)
        return {f.name for f in cache.iterdir()} if cache.exists() else set()

    kept = run_copy(source, "first") if after_a_compile else set()
    if not after_a_compile:
        assert run_copy(source) == set()
    time.sleep(0.05)
    now = run_copy()
    assert now > kept and run_copy() == now, "a process of the new sources keeps its own work, and finds it"
