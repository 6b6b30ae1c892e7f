"""`python -m benchmarks.gpu`: where there is no GPU it says so in one line; failures are told by their first cause."""

import subprocess
import sys
from pathlib import Path

import pytest

import graphc as gx
from benchmarks.gpu import __main__ as script
from benchmarks.gpu import measure
from tests.conftest import why_no_gpu

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(why_no_gpu() is None, reason="is about machines without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", "--save", tmp_path / "x.json"],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1 and done.stdout.startswith("no GPU to run on: ")
    assert done.stdout.count("\n") == 1 and not done.stderr and not (tmp_path / "x.json").exists()


def test_each_test_is_told_by_its_first_cause(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import os\ndef test_good(): pass\ndef test_bad(): assert 1 == 2, 'because'\ndef test_dead(): os.abort()\n"
        "def test_slow():\n    while True: pass\n"
    )
    found = {n: script.run_test(f"{tmp_path}/test_it.py::test_{n}", 5) for n in ("good", "bad", "dead", "slow")}
    assert found["good"] == "passed" and "because" in found["bad"]
    assert found["dead"] == "the process ended by signal 6" and found["slow"] == "no end after 5 s"


def test_the_tests_that_it_runs_are_found():
    listed = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", *script.TESTS],
                            cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert listed.stdout.count("::") > 30


@pytest.mark.parametrize("name", ["tiny call", "digits training step", "recurrence of 100 steps, 64x256"])
def test_what_is_measured_can_be_measured(name, monkeypatch):
    monkeypatch.setattr(measure, "RUNS", 2)
    found = measure.measure(name, "llvm")
    assert set(found) == {"llvm, first call", "llvm"} and all(t > 0 for t in found.values())


@pytest.mark.parametrize("name", measure.CASES)
def test_what_is_measured_has_source_for_a_gpu(name):
    """All is lowered, and attention to kernels that have no scores in memory."""
    function, arrays = measure.CASES[name]()
    compiled = gx.compile(function, backend="triton")
    assert "@triton.jit" in compiled.source(*arrays, stage="triton")
    if name.startswith("attention") and "1 query" not in name:
        scores = arrays[0].shape[-2], arrays[1].shape[-2]
        assert all(b.type.shape[-2:] != scores for b in compiled.schedule(*arrays).buffers)
