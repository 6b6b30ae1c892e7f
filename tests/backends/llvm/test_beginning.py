"""What is done once in a process, beside its first trace."""

import subprocess
import sys

import pytest


def run(code: str, *options: str) -> str:
    made = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0 and not made.stderr, made.stderr
    return made.stdout


PROGRAM = """
import os, sys, threading, numpy as np, graphc as gx
x = np.ones(3, np.float32)
names = lambda: [t.name for t in threading.enumerate()]
"""


def test_nothing_begins_before_a_call() -> None:
    code = "f = gx.compile(lambda x: x + 1); f.graph(x); f.schedule(x); gx.trace(lambda x: x, x)"
    assert run(f"{PROGRAM}{code}; print(names(), 'graphc.backends.llvm.run.jit' in sys.modules)").split() == [
        "['MainThread']",
        "False",
    ]


TRACES = {
    "that fails": "raise ValueError",
    "that forks": """
    child = os.fork()
    if child == 0:
        os._exit(gx.compile(lambda x: x * 2)(np.ones(3)).tolist() != [2, 2, 2])
    assert os.waitpid(child, 0)[1] == 0""",
    "that ends the process": "sys.exit(0)",
    "that compiles": "assert gx.compile(lambda x: x * 2)(np.ones(3)).tolist() == [2, 2, 2]",
    "with calls of another thread": """
    thread = threading.Thread(target=lambda: gx.asarray([1.0]) + 1)
    thread.start(); thread.join()""",
}


@pytest.mark.parametrize("body", TRACES.values(), ids=TRACES)
def test_beside_a_trace(body: str) -> None:
    code = f"{PROGRAM}\ndef f(x):\n    {body}\n    return x + 1\n"
    code += "try:\n    print(gx.compile(f)(x).tolist())\nexcept ValueError:\n    pass\n"
    code += "print(gx.compile(lambda x: x * 3)(x).tolist(), names())"
    ends = "exit" in body and "fork" not in body
    told = "" if ends else ("" if "raise" in body else "[2.0, 2.0, 2.0]\n") + "[3.0, 3.0, 3.0] ['MainThread']\n"
    assert run(code, "-W", "ignore") == told


def test_without_threads_it_is_done_when_it_is_needed() -> None:
    code = """
def start(self): raise RuntimeError("can't start new thread")
threading.Thread.start = start
print(gx.compile(lambda x: x + 1)(x).tolist())
"""
    assert run(PROGRAM + code) == "[2.0, 2.0, 2.0]\n"
