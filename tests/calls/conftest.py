"""What calls promise holds on both backends that run here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import graphc as gx


@pytest.fixture(autouse=True, params=["llvm", "reference"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with gx.using(backend=request.param):
        yield request.param
