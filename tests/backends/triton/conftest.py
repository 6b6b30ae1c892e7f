"""One interpreting process serves all tests."""

from collections.abc import Iterator

import pytest

from graphc.backends.triton.interpret import Interpreter


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter() as running:
        yield running
