"""What makes two graphs, or two nodes' attrs, the same: exact values, and structure without names and lines.

Python finds 1, 1.0 and True equal, and 0.0 and −0.0; here they differ. Two NaNs with equal bits are equal.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Hashable
from typing import Any

from ..brief import brief
from ..errors import CompileError
from ..ir import Attrs, Graph, Literal, everywhere
from ..types import DType, TensorType


def value_key(value: Any) -> Hashable:
    """A hashable stand-in for an attr's value, equal exactly where the values are; its `repr` is stable."""
    kind = type(value)
    if kind is int or kind is str:  # what most attrs are made of
        return value
    if kind is tuple:
        return tuple([item if type(item) is int else value_key(item) for item in value])
    match value:
        case bool() | None:
            return ("flag", value)
        case int() | str():
            return value
        case tuple():
            return tuple(map(value_key, value))
        case float():
            return ("float", struct.pack("<d", value))
        case DType():
            return ("dtype", value.name)
        case TensorType():
            return ("type", value.dtype.name, value.shape)
        case Literal():
            return ("literal", value.digest)
        case Graph():
            return ("graph", value.digest)
    raise CompileError(
        "an attr is an int, float, bool, str, tuple, dtype, type, Literal or Graph", got=brief(value)
    )


def attrs_key(attrs: Attrs) -> Hashable:
    """A hashable stand-in for all attrs of a node."""
    return tuple([(name, value_key(attrs[name])) for name in sorted(attrs)])


def canonical_hash(graph: Graph) -> str:
    """SHA-256, in hex, of the graph's structure: what every cache is keyed by.

    Equal for graphs that differ only in the names of inputs and variables, in the user's lines, in nodes that no
    result needs, and in the order that nodes were made in: nodes are numbered depth first from the results.
    """
    numbers = {node: i for i, node in enumerate(graph.nodes)}
    sources = {*graph.inputs, *graph.variables}
    lines = [f"{len(graph.inputs)} inputs, {len(graph.variables)} variables"]
    for node in graph.nodes:
        if node in sources:
            lines.append(str(node.type))
        else:
            inputs = [numbers[i] for i in node.inputs]
            lines.append(f"{node.op.name} {inputs} {attrs_key(node.attrs) if node.attrs else ''}")
    lines.append(f"update {[None if u is None else numbers[u] for u in graph.updates]}")
    lines.append(f"return {[numbers[o] for o in graph.outputs]}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def traced_hash(graph: Graph) -> str:
    """SHA-256, in hex, of the graph with the names of its sources and the user's lines: all that a program made of it
    may tell. Equal graphs traced at other lines differ."""
    names = [node.attrs["name"] for node in (*graph.inputs, *graph.variables)]
    nodes = list(everywhere(graph))
    lines = [node.loc and (node.loc.file, node.loc.line, node.loc.function) for node in nodes]
    names += [node.attrs.get("name", "") for node in nodes] if len(nodes) > len(graph.nodes) else []
    return hashlib.sha256(f"{canonical_hash(graph)} {names} {lines}".encode()).hexdigest()
