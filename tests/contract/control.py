"""Samples of control ops: small graphs as text, with arrays for their inputs and what they give, computed by hand.

A control op without an entry here fails the suite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.ir import Graph
from graphc.text import parse

F = np.float32


@dataclass(frozen=True)
class ControlSample:
    """A graph with one control op, its inputs and its outputs."""

    name: str
    text: str
    arrays: tuple[np.ndarray, ...]
    expected: tuple[Any, ...]

    def graph(self) -> Graph:
        return parse(self.text)

    def __str__(self) -> str:
        return self.name


def _scan(length: int, reverse: bool = False, steps: int | None = None) -> str:
    """h ← c · h + x, and y = h + 1 as it was before."""
    counted = "%steps: int64[], " if steps is not None else ""
    return f"""graph({counted}%c: float32[2], %h: float32[2], %xs: float32[{length}, 2]) {{
      %0 = scan({"%steps, " if counted else ""}%c, %h, %xs) {{
        body = graph(%c: float32[2], %h: float32[2], %x: float32[2]) {{
          %0 = multiply(%c, %h)
          %1 = add(%0, %x)
          %2 = constant() {{value = float32[](1.0)}}
          %3 = broadcast(%2) {{dims = (), shape = (2,)}}
          %4 = add(%h, %3)
          return %1, %4
        }}, consts = 1, carries = 1, length = {length}, reverse = {str(reverse).lower()},
        counted = {str(bool(counted)).lower()}}}
      %1 = item(%0) {{index = 0}}
      %2 = item(%0) {{index = 1}}
      return %1, %2
    }}"""


_C, _H = np.array([2, -1], F), np.array([1, 3], F)
_XS = np.array([[1, 2], [3, 4], [5, 6]], F)

SCANS = [
    ControlSample("scan of three", _scan(3), (_C, _H, _XS), ([23, 1], [[2, 4], [4, 0], [10, 6]])),
    ControlSample("scan in reverse", _scan(3, True), (_C, _H, _XS), ([35, 1], [[18, 2], [8, 4], [2, 4]])),
    ControlSample("scan of one", _scan(1), (_C, _H, _XS[:1]), ([3, -1], [[2, 4]])),
    ControlSample("scan of none", _scan(0), (_C, _H, _XS[:0]), ([1, 3], np.zeros((0, 2)))),
    ControlSample("scan of two of three", _scan(3, steps=2), (np.asarray(2), _C, _H, _XS),
                  ([9, 5], [[2, 4], [4, 0], [0, 0]])),
    ControlSample("scan of two of three in reverse", _scan(3, True, steps=2), (np.asarray(2), _C, _H, _XS),
                  ([11, 1], [[6, 2], [2, 4], [0, 0]])),
    ControlSample("scan of more than there are", _scan(3, steps=9), (np.asarray(9), _C, _H, _XS),
                  ([23, 1], [[2, 4], [4, 0], [10, 6]])),
    ControlSample("scan of less than none", _scan(3, steps=-9), (np.asarray(-9), _C, _H, _XS),
                  ([1, 3], np.zeros((3, 2)))),
]  # fmt: skip


def _while(max_steps: int | None) -> str:
    """Doubles h until its sum reaches the limit, and stacks what it was where it may."""
    kept = max_steps is not None
    return f"""graph(%limit: float32[], %h: float32[2]) {{
      %0 = while_loop(%limit, %h) {{
        cond = graph(%limit: float32[], %h: float32[2]) {{
          %0 = sum(%h) {{axes = (0,)}}
          %1 = less(%0, %limit)
          return %1
        }}, body = graph(%limit: float32[], %h: float32[2]) {{
          %0 = add(%h, %h)
          return %0{", %h" if kept else ""}
        }}, consts = 1, carries = 1, max_steps = {max_steps if kept else "none"}}}
      %1 = item(%0) {{index = 0}}
      %2 = item(%0) {{index = 1}}
      {"%3 = item(%0) {index = 2}" if kept else ""}
      return %1, %2{", %3" if kept else ""}
    }}"""


_LIMIT, _START = np.array(10, F), np.array([1, 0.5], F)

WHILES = [
    ControlSample("while", _while(None), (_LIMIT, _START), ([8, 4], 3)),
    ControlSample("while that never begins", _while(None), (np.array(1, F), _START), ([1, 0.5], 0)),
    ControlSample("while with room", _while(5), (_LIMIT, _START),
                  ([8, 4], 3, [[1, 0.5], [2, 1], [4, 2], [0, 0], [0, 0]])),
    ControlSample("while that is cut off", _while(2), (_LIMIT, _START), ([4, 2], 2, [[1, 0.5], [2, 1]])),
    ControlSample("while of no step", _while(0), (_LIMIT, _START), ([1, 0.5], 0, np.zeros((0, 2)))),
]  # fmt: skip

_SWITCH = """graph(%index: int32[], %x: float32[2], %y: float32[2]) {
  %0 = switch(%index, %x, %y) {
    branch0 = graph(%x: float32[2], %y: float32[2]) {
      %0 = add(%x, %y)
      %1 = sum(%x) {axes = (0,)}
      return %0, %1
    }, branch1 = graph(%x: float32[2], %y: float32[2]) {
      %0 = sum(%y) {axes = (0,)}
      return %x, %0
    }, branch2 = graph(%x: float32[2], %y: float32[2]) {
      %0 = multiply(%x, %y)
      %1 = constant() {value = float32[](7.0)}
      return %0, %1
    }}
  %1 = item(%0) {index = 0}
  %2 = item(%0) {index = 1}
  return %1, %2
}"""

_RESULTS = {-5: ([3, 8], 4), 0: ([3, 8], 4), 1: ([1, 3], 7), 2: ([2, 15], 7), 9: ([2, 15], 7)}
SWITCHES = [
    ControlSample(f"switch to {i}", _SWITCH, (np.asarray(i, np.int32), np.array([1, 3], F), np.array([2, 5], F)), r)
    for i, r in _RESULTS.items()
]

_CHECKPOINT = """graph(%x: float32[2]) {
  %0 = checkpoint(%x) {body = graph(%x: float32[2]) {
    %0 = add(%x, %x)
    return %0, %x
  }}
  %1 = item(%0) {index = 0}
  %2 = item(%0) {index = 1}
  return %1, %2
}"""

CHECKPOINTS = [ControlSample("checkpoint", _CHECKPOINT, (np.array([1, 3], F),), ([2, 6], [1, 3]))]

CONTROL: dict[str, list[ControlSample]] = {
    "scan": SCANS, "while_loop": WHILES, "switch": SWITCHES, "checkpoint": CHECKPOINTS,
}  # fmt: skip
