"""Packages that were changed and sealed again never end the process, and are refused with errors of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("count", [240, pytest.param(30_000, marks=pytest.mark.long)])
def test_no_mutant_ends_the_process(count: int) -> None:
    first, deaths, errors = 0, [], ""
    while first < count:
        command = [sys.executable, "-m", "tests.fuzz.packages", str(first), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        seeds = done.stdout.split()
        errors += done.stderr
        if done.returncode == 0:
            break
        assert seeds, done.stderr
        deaths.append(f"seed {seeds[-1]}: exit {done.returncode}")
        first = int(seeds[-1]) + 1
    assert not deaths
    assert not errors
