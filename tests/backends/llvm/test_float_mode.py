"""Subnormal numbers are numbers, and 0 where that is asked for: for each thread, during calls only."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.driver.report import Report, StepReport, with_times

F: Any = np.float32
TINY = np.array([1e-38, -1e-39, 1e-45, 3e-38, 1], F)
HALVES = TINY * F(0.5)
FLUSHED = np.array([0, 0, 0, 1.5e-38, 0.5], F)


def halved(x: Any) -> Any:
    return x * F(0.5)


def in_a_loop(x: Any) -> Any:
    return gx.scan(lambda c, row: (c, row * F(0.5)), None, x)[1]


@pytest.mark.parametrize("function", [halved, in_a_loop])
@pytest.mark.parametrize("copies", [1, 300_000])
def test_calls_take_subnormal_numbers_for_zero_where_asked(function: Any, copies: int) -> None:
    """Many of them, so that each thread of the team computes some."""
    x = np.tile(TINY, copies)
    if function is in_a_loop:
        x = x.reshape(5, -1)
    compiled = gx.compile(function)
    for _ in range(2):  # no mode is left behind by the other's calls
        assert np.array_equal(compiled(x).numpy().ravel(), np.tile(HALVES, copies))
        with gx.using(flush_subnormals=True):
            found = compiled(x).numpy().ravel()
            assert np.array_equal(found, np.tile(FLUSHED, copies)) and np.array_equal(TINY * F(0.5), HALVES)


def test_it_is_a_setting() -> None:
    assert gx.settings.Settings.from_environment({"GRAPHC_FLUSH_SUBNORMALS": "1"}).flush_subnormals
    with pytest.raises(ValueError, match="True or False"), gx.using(flush_subnormals=1):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("flush", [False, True])
def test_programs_follow_it(tmp_path: Path, flush: bool) -> None:
    with gx.using(flush_subnormals=flush):
        gx.compile(halved, inputs=[gx.spec((5,))]).build(tmp_path / "p", kind="program")
    np.save(tmp_path / "x.npy", TINY)
    subprocess.run([tmp_path / "p", tmp_path / "x.npy", "-o", tmp_path / "y.npy"], check=True)
    assert np.array_equal(np.load(tmp_path / "y.npy"), FLUSHED if flush else HALVES)


def test_reports_say_where_they_take_long() -> None:
    step = StepReport(None, "loop", 0, 1, ("scan",), (), 0, 0)
    report = Report("llvm", (step, step), {}, 0, 0, 2)
    slow, well = with_times(report, [1e-3, 1e-3], [1e-4, 9e-4]).steps
    assert "subnormal" in slow.notes[0] and "100 µs" in slow.notes[0] and not well.notes
    timed = gx.compile(halved).report(np.full(100_000, 1e-39, F), timed=True)
    assert "µs" in str(timed)
