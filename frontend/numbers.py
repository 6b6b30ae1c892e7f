"""Checks of the numbers that layers and optimizers are made with, so that a wrong one is told where it is written."""

from __future__ import annotations

import math
from typing import Any

from graphc.brief import brief
from graphc.errors import GraphcError


class NumberError(GraphcError, ValueError):
    """A number that a layer or an optimizer can't work with."""


def finite(
    value: Any, name: str, *, least: float = -math.inf, most: float = math.inf, below: float = math.inf,
    above: float = -math.inf,
) -> float:  # fmt: skip
    """The number as a float. Raises NumberError for one out of these bounds, for infinities and NaN, and for what is no
    number: bools and texts too."""
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, GraphcError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most and above < number < below):
        raise NumberError(f"{name} is a finite number{_bounds(name, least, most, below, above)}", got=brief(value))
    return number


def _bounds(name: str, least: float, most: float, below: float, above: float) -> str:
    """", 0 ≤ p ≤ 1"."""
    low = f"{least:g} ≤ " if math.isfinite(least) else f"{above:g} < " if math.isfinite(above) else ""
    high = f" ≤ {most:g}" if math.isfinite(most) else f" < {below:g}" if math.isfinite(below) else ""
    return f", {low}{name}{high}" if low or high else ""


def probability(value: Any) -> float:
    """p as a float. Raises NumberError for what is no probability."""
    try:
        return finite(value, "p", least=0.0, most=1.0)
    except NumberError as error:
        raise NumberError("p is a probability, between 0 and 1", got=error.got) from None
