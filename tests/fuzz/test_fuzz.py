"""Random graphs from the op registry: every backend gives what the reference gives, and gradients are slopes.

FUZZ_COUNT and FUZZ_SEED choose other seeds than the default ones; `-m long` tries thousands.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest

from graphc.costs import CPU, GPU
from graphc.dataclass import replace
from graphc.driver.compilation import find_backend
from graphc.kernel import Kernel
from graphc.op import Kind
from graphc.ops.rules import no_gradient
from graphc.passes.cut_scores import Refuses
from graphc.settings import Settings
from graphc.verify_kernel import verify_kernel
from tests.attention_forms import refuses as forms
from tests.schedule_interpreter import run_schedule

from .checks import FIRST, Run, Summary, check_on, check_seeds, on
from .control import random_control_case
from .projections import random_projection_case
from .random_graphs import drawable, random_case
from .scores import random_scores_case
from .slopes import check_slopes

COUNT = int(os.environ.get("FUZZ_COUNT", "0")) or len(drawable())
MANY = int(os.environ.get("FUZZ_COUNT", "0")) or 3000
SLOPES = 5  # times as many graphs: slopes need no compiler
CONTROL = 24  # graphs with loops and branches
SCORES = int(os.environ.get("FUZZ_COUNT", "0")) or 16  # graphs with scores in them
PRODUCTS = int(os.environ.get("FUZZ_COUNT", "0")) or 40  # graphs around a product
PLAIN = 4  # every so many graphs also run as they are, not optimized


@pytest.fixture
def report(capsys: pytest.CaptureFixture) -> Callable[[str, Summary], None]:
    """Says what was done, whatever the outcome, then raises what failed."""

    def say(what: str, summary: Summary) -> None:
        with capsys.disabled():
            print(f"\n{what}: {summary}")
        summary.raise_failures()

    return say


def _check_llvm(llvm: Run) -> Callable[[int, Summary], None]:
    return lambda seed, summary: check_on(llvm, seed, summary, plain=seed % PLAIN == 0)


def test_llvm_computes_what_the_reference_does(llvm, report):
    summary = check_seeds(range(FIRST, FIRST + COUNT), _check_llvm(llvm))
    report("llvm", summary)
    assert summary.coverage.compared >= 0.8 * summary.coverage.total
    if len(drawable()) <= COUNT:
        assert {op.name for op in drawable()} <= summary.ops, "seeds that draw every op"


def test_what_is_computed_of_products_is_what_the_reference_computes(llvm, report):
    """The backend is asked, as it is by the driver, so that rows are reduced where products are made."""
    def check(seed: int, summary: Summary) -> None:
        check_on(llvm, seed, summary, False, random_projection_case, refuses=find_backend("llvm").refuses)

    summary = check_seeds(range(FIRST, FIRST + PRODUCTS), check)
    report("products", summary)
    assert summary.coverage.compared >= 0.8 * summary.coverage.total


def test_gradients_are_slopes(report):
    summary = check_seeds(range(FIRST, FIRST + SLOPES * COUNT), check_slopes)
    report("slopes", summary)
    if len(drawable()) <= COUNT:
        assert summary.coverage.compared >= 0.7 * summary.coverage.total
        smooth = {
            op.name for op in drawable() if op.kind is not Kind.POSITION and op.vjp not in (None, no_gradient)
        }
        assert smooth <= summary.ops, "seeds that ask for every gradient rule"


def test_triton_computes_what_the_reference_does(report):
    from graphc.backends.triton.interpreted import InterpretedBackend

    backend = InterpretedBackend()
    with backend.interpreter:
        run = on(backend, Settings())
        report(
            "triton",
            check_seeds(range(FIRST, FIRST + 6), lambda seed, s: check_on(run, seed, s, False, random_case, GPU)),
        )


def test_loops_and_branches_compute_what_the_reference_does(llvm, report):
    make = random_control_case
    summary = check_seeds(range(FIRST, FIRST + CONTROL), lambda seed, s: check_on(llvm, seed, s, seed % 2 == 0, make))
    report("loops and branches", summary)
    assert summary.coverage.compared >= 0.7 * summary.coverage.total
    assert {"scan", "while_loop", "switch", "checkpoint"} <= summary.ops


@pytest.mark.parametrize("which", ["as one", "by forms"])
def test_scores_are_cut_into_kernels_that_mean_the_same(which: str, report) -> None:
    """Whatever kernels a backend takes."""
    refuses = forms if which == "by forms" else lambda kernel: ""
    cut = Counter[bool]()

    def checked(kernel: Kernel) -> str:
        verify_kernel(kernel)
        reason = refuses(kernel)
        cut[not reason] += 1
        return reason

    summary = check_seeds(range(FIRST, FIRST + SCORES), _check_scores(run_schedule, checked))
    report(f"scores, {which}", summary)
    if SCORES >= 16:
        assert cut[True] > SCORES
        assert summary.coverage.compared >= 0.8 * summary.coverage.total


def test_llvm_computes_scores_as_the_reference_does(llvm, report) -> None:
    backend = find_backend("llvm")
    seeds = range(FIRST, FIRST + (SCORES + 1) // 2)
    report("scores", check_seeds(seeds, _check_scores(llvm, backend.refuses)))


def test_triton_computes_scores_as_the_reference_does(report) -> None:
    from graphc.backends.triton.interpreted import InterpretedBackend

    backend = InterpretedBackend()
    with backend.interpreter:
        check = _check_scores(on(backend, Settings()), backend.refuses)
        report("scores on triton", check_seeds(range(FIRST, FIRST + (SCORES + 3) // 4), check))


def _check_scores(run: Run, refuses: Refuses) -> Callable[[int, Summary], None]:
    """As if memory were dearer than time."""
    costs = replace(CPU, cache=0)
    return lambda seed, summary: check_on(run, seed, summary, False, random_scores_case, costs, refuses)


def test_gradients_of_loops_and_branches_are_slopes(report):
    seeds = range(FIRST, FIRST + 4 * CONTROL)
    summary = check_seeds(seeds, lambda seed, s: check_slopes(seed, s, random_control_case))
    report("slopes of loops and branches", summary)


@pytest.mark.long
def test_loops_and_branches_of_thousands_of_graphs(llvm, report):
    def check(seed, summary):
        check_on(llvm, seed, summary, True, random_control_case)
        check_slopes(seed, summary, random_control_case)

    report("loops and branches", check_seeds(range(FIRST, FIRST + MANY), check))


@pytest.mark.long
def test_llvm_on_thousands_of_graphs(llvm, report):
    report("llvm", check_seeds(range(FIRST, FIRST + MANY), _check_llvm(llvm)))


@pytest.mark.long
def test_slopes_of_thousands_of_graphs(report):
    report("slopes", check_seeds(range(FIRST, FIRST + MANY), check_slopes))
