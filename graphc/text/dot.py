"""Graphs as Graphviz text: `graphc show FILE.py:FUNCTION --stage dot | dot -Tsvg`. To look at; nothing reads it back.

Inputs and variables are boxes at the top, outputs and updates below; each op has its type, and the user's line as
tooltip. Broadcasts and constants, which most ops have, are left out where they say nothing: a scalar constant is
written into the op that takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..ir import Graph, Literal, Node
from ..op import Kind
from ..types import TensorType


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    names = {node: f"n{i}" for i, node in enumerate(graph.nodes)}
    results = {*graph.outputs, *graph.updates}
    folded = {node for node in graph.nodes if _scalar(node) is not None and node not in results}
    rows = ["digraph {", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans, fontsize=10]',
            "  edge [arrowsize=0.6, fontname=sans, fontsize=8]"]  # fmt: skip
    for node in graph.nodes:
        if node not in folded:
            rows.append(f"  {names[node]} {_attributes(node, graph)}")
            rows += [f"  {names[i]} -> {names[node]}" for i in node.inputs if i not in folded]
    rows += [f"  {line}" for line in _results(graph, names)]
    return "\n".join([*rows, "}"])


def _results(graph: Graph, names: dict[Node, str]) -> Iterator[str]:
    for number, output in enumerate(graph.outputs):
        yield f'out{number} [label="output {number}", fillcolor=lightblue]'
        yield f"{names[output]} -> out{number}"
    for variable, update in zip(graph.variables, graph.updates, strict=True):
        if update is not None and variable in names:
            yield f"{names[update]} -> {names[variable]} [style=dashed, constraint=false, label=update]"


def _attributes(node: Node, graph: Graph) -> str:
    source = "lightblue" if node in graph.inputs else "moccasin" if node in graph.variables else None
    scalars = [text for i in node.inputs if (text := _scalar(i)) is not None]
    title = f"{node.op.name}({', '.join(scalars)})" if scalars else node.op.name
    label = f"{node.attrs['name'] if source else title}\n"
    label += str(node.type) if isinstance(node.type, TensorType) else ""
    tooltip = f"{node.loc}  {node.loc.text}" if node.loc else ""
    shown = {"label": label.strip(), "fillcolor": source or _COLOURS.get(node.op.kind), "tooltip": tooltip}
    return "[" + ", ".join(f"{key}={_quoted(value)}" for key, value in shown.items() if value) + "]"


_COLOURS = {
    Kind.CONTRACTION: "palegreen", Kind.REDUCTION: "thistle", Kind.CUMULATIVE: "thistle", Kind.VIEW: "gray95",
    Kind.INDEXED: "khaki",
}  # fmt: skip


def _scalar(node: Node) -> str | None:
    """The number that a constant, or its broadcast, repeats."""
    if node.op.kind is Kind.VIEW and len(node.inputs) == 1:
        return _scalar(node.inputs[0])
    literal = node.attrs.get("value") if node.op.kind is Kind.SOURCE else None
    return f"{literal.array.item():.6g}" if isinstance(literal, Literal) and literal.array.size == 1 else None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
