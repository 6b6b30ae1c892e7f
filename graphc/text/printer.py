"""Graphs to text. The grammar stands in the package's docstring.

The text is stable: it depends on structure, names and lines only. Large constants are named by digest, and
`constants_of` gives the table that reads them back.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..brief import brief
from ..errors import CompileError
from ..ir import Graph, Literal, Node, sub_graphs
from ..types import DType, TensorType

INLINE_ELEMENTS = 16  # literals up to this size are written out
DIGEST_DIGITS = 16  # hex digits that name a literal in text
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def print_graph(graph: Graph, *, lines: bool = True) -> str:
    """The graph's text; with `lines`, statements end with the user's line as a comment."""
    return _Printer(graph, lines, "").graph()


def window(graph: Graph, node: Node, radius: int = 3) -> str:
    """The statements around a node, for error messages; the node's own is marked with `>`."""
    printer = _Printer(graph, True, "")
    nodes = [n for n in graph.nodes if n not in printer.sources] or [node]
    at = nodes.index(node) if node in nodes else 0
    near = nodes[max(at - radius, 0) : at + radius + 1]
    return "\n".join(("> " if n is node else "  ") + printer.statement(n) for n in near)


def constants_of(graph: Graph) -> dict[str, np.ndarray]:
    """The arrays that the graph's text names by digest, also those in sub-graphs."""
    found: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        for literal in _literals(node.attrs.values()):
            if literal.array.size > INLINE_ELEMENTS:
                found[constant_name(literal)] = literal.array
        for body in sub_graphs(node).values():
            found |= constants_of(body)
    return found


def constant_name(literal: Literal) -> str:
    """What texts call a literal that they do not write out: the first digits of its digest."""
    return literal.digest[:DIGEST_DIGITS]


def _literals(values: Iterable[Any]) -> Iterable[Literal]:
    for value in values:
        if isinstance(value, Literal):
            yield value
        elif isinstance(value, tuple):
            yield from _literals(value)


class _Printer:
    """One graph's names and indentation."""

    def __init__(self, graph: Graph, lines: bool, indent: str) -> None:
        self.of = graph
        self.lines = lines
        self.indent = indent
        self.sources = {**_names("%", graph.inputs), **_names("@", graph.variables)}
        computed = (n for n in graph.nodes if n not in self.sources)
        self.names: Mapping[Node, str] = self.sources | {n: f"%{i}" for i, n in enumerate(computed)}

    def graph(self) -> str:
        head = f"graph({self.declarations(self.of.inputs)})"
        if self.of.variables:
            head += f" variables({self.declarations(self.of.variables)})"
        inner = self.indent + "  "
        body = [inner + self.statement(n) for n in self.of.nodes if n not in self.sources]
        for variable, update in zip(self.of.variables, self.of.updates, strict=True):
            if update is not None:
                body.append(f"{inner}update {self.names[variable]} = {self.names[update]}")
        body.append(f"{inner}return {', '.join(self.names[o] for o in self.of.outputs)}".rstrip())
        return "\n".join([head + " {", *body, self.indent + "}"])

    def declarations(self, sources: tuple[Node, ...]) -> str:
        return ", ".join(f"{self.names[s]}: {s.type}" for s in sources)

    def statement(self, node: Node) -> str:
        inputs = ", ".join(self.names[i] for i in node.inputs)
        text = f"{self.names[node]} = {node.op.name}({inputs})"
        if node.attrs:
            text += f" {{{', '.join(f'{k} = {self.value(node.attrs[k])}' for k in sorted(node.attrs))}}}"
        text += f" : {node.type}"
        return f"{text}   # {node.loc}" if self.lines and node.loc is not None else text

    def value(self, value: Any) -> str:
        """An attr's value."""
        match value:
            case bool() | None:
                return str(value).lower()
            case int() | DType() | TensorType():
                return str(value)
            case float():
                return float_text(value)
            case str():
                return json.dumps(value, ensure_ascii=False)
            case tuple():
                return f"({', '.join(map(self.value, value))}{',' * (len(value) == 1)})"
            case Literal():
                return literal_text(value)
            case Graph():
                return _Printer(value, self.lines, self.indent + "    ").graph()
        raise CompileError("the text form has no such attr", got=brief(value))


def _names(sigil: str, sources: tuple[Node, ...]) -> dict[Node, str]:
    """The sources' own names, told apart where they are equal."""
    met: Counter[str] = Counter()
    names: dict[Node, str] = {}
    for source in sources:
        name = str(source.attrs.get("name", ""))
        met[name] += 1
        text = name if WORD.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        names[source] = f"{sigil}{text}" + (f"'{met[name]}" if met[name] > 1 else "")
    return names


def float_text(value: float) -> str:
    """A Python float, exactly; a NaN other than the usual one as its bits."""
    bits = struct.pack(">d", value)
    if value != value and bits != struct.pack(">d", float("nan")):
        return f"0x{bits.hex()}"
    return repr(value)


def literal_text(literal: Literal) -> str:
    type_ = literal.type
    if type_.size > INLINE_ELEMENTS:
        return f"{type_} sha256:{constant_name(literal)}"
    return f"{type_}({', '.join(_element_text(e, type_.dtype) for e in literal.array.reshape(-1))})"


def _element_text(element: Any, dtype: DType) -> str:
    """One element with the fewest digits that read back as the same bits."""
    if dtype.is_bool:
        return str(bool(element)).lower()
    if dtype.is_integer:
        return str(int(element))
    bits = element.tobytes()
    for text in (str(element), repr(float(element))):
        if not text.lstrip("-").isdigit() and np.array(float(text), dtype.numpy).tobytes() == bits:
            return text
    return f"0x{bits[::-1].hex()}"
