"""Runs the benchmarks and prints their tables; `--save FILE` keeps them as JSON, with the machine named.

Each benchmark runs in a process of its own for each number of threads, tied to as many processors, so that every
library has the same.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# name → (module, function, numbers of threads)
BENCHMARKS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "accuracy": ("digits", "accuracy", (2,)),
    "digits": ("digits", "speed", (1, 2)),
    "start": ("start", "run", (2,)),
    "attention": ("attention", "run", (1, 2)),
    "compile time": ("compile_time", "run", (2,)),
    "eager": ("eager", "run", (1, 2)),
    "functions": ("functions", "run", (1,)),
    "kernels": ("kernels", "run", (1, 2)),
    "matmul": ("matmul", "run", (1, 2)),
    "narrow": ("narrow", "run", (1, 2)),
    "recurrent": ("recurrent", "run", (1, 2)),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--save", type=Path, help="write all results to this JSON file")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_run_here(options.one[0], int(options.one[1]))))
        return
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    from .machine import name as machine_name

    results: dict[str, Any] = {"machine": machine_name(), "date": time.strftime("%Y-%m-%d"), "results": {}}
    print(results["machine"])
    for name in options.names or BENCHMARKS:
        for threads in BENCHMARKS[name][2]:
            if threads > len(os.sched_getaffinity(0)):
                print(f"\n{name}: needs {threads} processors")
                continue
            rows = _run_apart(name, threads)
            results["results"][f"{name}, {threads} threads"] = rows
            _print(f"{name}, {threads} thread{'s' if threads > 1 else ''}", rows)
    if options.save:
        options.save.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _run_here(name: str, threads: int) -> list[dict[str, object]]:
    module, function, _ = BENCHMARKS[name]
    rows: list[dict[str, object]] = getattr(importlib.import_module(f"benchmarks.{module}"), function)(
        threads
    )
    return rows


def _run_apart(name: str, threads: int) -> list[dict[str, object]]:
    """Run in a process that has `threads` processors; libraries are told so as well."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GRAPHC_THREADS")
    environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
    processors = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--one", name, str(threads)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    rows: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def _print(title: str, rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    columns = list(dict.fromkeys(c for row in rows for c in row))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(c)) for c in columns))
    Console().print(table)


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
