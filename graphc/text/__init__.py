"""The text form of graphs: print, parse, and a hash of what a graph means.

    graph(%x: float32[128, 64], %y: int64[128]) variables(@w: float32[64, 10]) {
      %0 = dot_general(%x, @w) {batch = ((), ()), contract = ((1,), (0,))} : float32[128, 10]   # digits.py:12
      ...
      update @w = %7
      return %0
    }

Grammar (`x*` any number, `x?` optional, `x,*` separated by commas; newlines and spaces mean nothing except that
they end a comment):

    graph       = "graph" "(" (input ":" type),* ")" ("variables" "(" (variable ":" type),* ")")?
                  "{" statement* update* "return" ref,* "}"
    statement   = node "=" op "(" ref,* ")" ("{" (word "=" value),* "}")? (":" type)? line?
    update      = "update" variable "=" ref
    ref         = input | variable | node
    input       = "%" name                   by name
    variable    = "@" name
    node        = "%" digits                 numbered in the order of `Graph.nodes`
    name        = (word | string) ("'" digits)?     'n tells the n-th of equal names, and is no part of the name
    type        = tensor | "(" type,* ")"    the second is a tuple type
    tensor      = dtype "[" int,* "]"
    value       = int | float | string | "true" | "false" | "none" | dtype | tensor | literal | graph
                | "(" (value ",")* ")"       a tuple; a single item keeps its comma
    literal     = tensor "(" (int | float | "true" | "false"),* ")"        up to 16 elements, row-major
                | tensor "sha256:" hex                                     found in the side table of constants
    float       = decimal | "inf" | "-inf" | "nan" | "0x" hex              hex: the bits, of any other NaN
    line        = "# file:line"              the user's line; any other comment is skipped

A float is written with the fewest digits that read back as the same bits. A statement's type may be left out where
a person writes; where it stands, it must be what the op's type rule gives.
"""

from .canonical import attrs_key, canonical_hash, traced_hash
from .parser import parse
from .printer import constant_name, constants_of, print_graph, window

__all__ = [
    "attrs_key", "canonical_hash", "constant_name", "constants_of", "parse", "print_graph", "traced_hash", "window",
]  # fmt: skip
