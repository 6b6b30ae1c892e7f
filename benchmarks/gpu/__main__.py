"""Everything about a GPU in one go: the tests that need one, each in a process of its own, then a short benchmark.

    make gpu            python -m benchmarks.gpu [--seconds N] [--save FILE]

It needs neither PyTorch nor the network, ends within ten minutes, prints what fails with its first cause, and
writes one JSON file. Each test and each measurement has a process of its own, since an error on a GPU is the end of
its process: what comes after it would fail for no reason of its own. Exit code 0 if all went well; 1 if something
failed, or if there is no GPU, which takes one line to say.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from graphc.errors import GraphcError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LIMIT = 580.0  # seconds for everything
LONGEST = 60.0  # for one test
TESTS = ["tests/backends/triton"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--seconds", type=float, default=LIMIT, help="for everything together")
    parser.add_argument("--save", type=Path, help="the JSON file; by default one in benchmarks/results")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    try:
        from graphc.backends.triton.cuda import first_device

        device = first_device().describe()
    except GraphcError as error:
        print(f"no GPU to run on: {error.got or error.rule}")
        return 1
    print(f"{device['device']}, compute capability {device['compute_capability']}, driver {device['driver']}")
    tests = run_tests(end - 0.25 * options.seconds)
    measured = run_benchmarks(end)
    failed = {name: cause for name, cause in (tests | {k: m for k, m in measured.items() if isinstance(m, str)}).items()
              if cause != "passed"}  # fmt: skip
    path = options.save or RESULTS / f"{datetime.date.today()}-{file_name(str(device['device']))}.json"
    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **device,
        "python": platform.python_version(), "versions": versions(), "tests": tests, "microseconds": measured,
    }  # fmt: skip
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{len(tests) - sum(t != 'passed' for t in tests.values())} of {len(tests)} tests passed; {path}")
    for name, cause in failed.items():
        print(f"FAILED {name}\n    {cause}")
    return 1 if failed else 0


def run_tests(end: float) -> dict[str, str]:
    """What became of each test: "passed", or the first cause of its failure."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = [line for line in listed.stdout.splitlines() if "::" in line]
    if not names:
        return {"collecting the tests": first_cause(listed.stdout + listed.stderr)}
    found = {}
    for name in names:
        left = end - time.monotonic()
        found[name] = run_test(name, min(left, LONGEST)) if left > 1 else "not run: no time was left"
        print(f"{'ok  ' if found[name] == 'passed' else 'FAIL'} {name.rpartition('/')[2]}", flush=True)
        if found[name] != "passed":
            print(f"     {found[name]}", flush=True)
    return found


def run_test(name: str, seconds: float) -> str:
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {seconds:.0f} s"
    text = done.stdout + done.stderr
    if done.returncode == 0:
        return "skipped: " + first_cause(text) if " skipped" in text.splitlines()[-1] else "passed"
    return first_cause(text) if done.returncode > 0 else f"the process ended by signal {-done.returncode}"


def first_cause(text: str) -> str:
    """The first error that the text tells of, on one line: pytest marks such lines with E."""
    errors = [line[1:].strip() for line in text.splitlines() if re.match(r"E  +\S", line)]
    lines = errors[:6] or [line.strip() for line in text.splitlines() if line.strip()][-3:]
    return " | ".join(lines)[:600] or "no output"


def run_benchmarks(end: float) -> dict[str, dict[str, float] | str]:
    """Microseconds by the name of what was measured and by backend, or why there are none."""
    from .measure import CASES

    found: dict[str, dict[str, float] | str] = {}
    for name in CASES:
        left = end - time.monotonic()
        if left < 2:
            found[name] = "not run: no time was left"
            continue
        command = [sys.executable, "-m", "benchmarks.gpu.measure", name]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False)
            lines = done.stdout.splitlines()
            found[name] = json.loads(lines[-1]) if done.returncode == 0 and lines else first_cause(done.stderr)
        except subprocess.TimeoutExpired:
            found[name] = "no end in the time that was left"
        print(f"{name}: {found[name]}", flush=True)
    return found


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("numpy", "llvmlite", "triton", "cuda-bindings"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
