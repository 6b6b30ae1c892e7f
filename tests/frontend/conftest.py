"""The frontend's tests run on the reference backend: they are about graphs, not about machine code."""

from collections.abc import Iterator

import pytest

import graphc as gx


@pytest.fixture(autouse=True)
def reference_backend() -> Iterator[None]:
    with gx.using(backend="reference"):
        yield
