"""Text to graphs. The grammar stands in the package's docstring.

Each node is made by its op, so type rules run as in a trace; a stated type must agree. Every error says where in
the text it lies.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import GraphcError, Location, ParseError
from ..ir import Graph, Literal, Node
from ..op import find_op
from ..types import DTYPES, DType, TensorType, TupleType, Type

T = TypeVar("T")


def parse(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The graph that the text describes.

    `constants` holds the arrays that the text names by digest, as `constants_of` gives them.
    Raises ParseError, with line and column, for text that is no graph.
    """
    parser = _Parser(text, constants or {})
    graph = parser.graph()
    parser.expect_kind(_Kind.END)
    return graph


class _Kind(Enum):
    """Tokens; the order matters, since the first expression that matches wins."""

    SPACE = r"\s+"
    COMMENT = r"#[^\n]*"
    REF = r"[%@](?:[A-Za-z0-9_.]+|\"(?:[^\"\\\n]|\\.)*\")(?:'\d+)?"
    DIGEST = r"sha256:[0-9a-f]+"
    BITS = r"0x[0-9a-f]+"
    FLOAT = r"-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|(?:inf|nan)\b)"
    INT = r"-?\d+"
    STRING = r"\"(?:[^\"\\\n]|\\.)*\""
    WORD = r"[A-Za-z_][A-Za-z0-9_.]*"
    MARK = r"[(){}\[\]=:,]"
    END = r"\Z"


_TOKEN = re.compile("|".join(f"(?P<{kind.name}>{kind.value})" for kind in _Kind))
_USER_LINE = re.compile(r"#\s+(?P<file>\S.*):(?P<line>\d+)\s*")


class _Token(NamedTuple):
    kind: _Kind
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        return "the end" if self.kind is _Kind.END else repr(self.text)


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens but spaces; lines and columns count from 1. Raises ParseError for a character of no token."""
    at, line, line_start = 0, 1, 0
    while True:
        found = _TOKEN.match(text, at)
        column = at - line_start + 1
        if found is None:
            raise ParseError("this character means nothing here", text=text, line=line, column=column)
        kind = _Kind[str(found.lastgroup)]
        if kind is not _Kind.SPACE:
            yield _Token(kind, found.group(), line, column)
        if kind is _Kind.END:
            return
        if newlines := found.group().count("\n"):
            line += newlines
            line_start = at + found.group().rindex("\n") + 1
        at = found.end()


class _Parser:
    """Recursive descent over the tokens. One scope of names is open for each graph being read."""

    def __init__(self, text: str, constants: Mapping[str, np.ndarray]) -> None:
        self.text = text
        self.constants = constants
        tokens = list(_tokens(text))
        self.tokens = [t for t in tokens if t.kind is not _Kind.COMMENT]
        self.user_lines = {t.line: _user_line(t.text) for t in tokens if t.kind is _Kind.COMMENT}
        self.at = 0
        self.scopes: list[dict[str, Node]] = []

    # Tokens

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, rule: str, token: _Token | None = None) -> ParseError:
        token = token or self.token
        return ParseError(rule, text=self.text, line=token.line, column=token.column)

    def accept(self, text: str) -> bool:
        """Step over the token if it is this mark or word."""
        if self.token.kind in (_Kind.MARK, _Kind.WORD) and self.token.text == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.fail(f"expected {text!r}, found {self.token}")

    def expect_kind(self, kind: _Kind) -> _Token:
        token = self.token
        if token.kind is not kind:
            raise self.fail(f"expected {kind.name.lower()}, found {token}")
        self.at += 1
        return token

    def list_of(self, item: Callable[[], T], end: str) -> list[T]:
        """Items separated by commas (one more at the end is allowed), up to and over the mark `end`."""
        items: list[T] = []
        while not self.accept(end):
            items.append(item())
            if not self.accept(","):
                self.expect(end)
                break
        return items

    # Graphs

    def graph(self) -> Graph:
        from ..ops import input, variable

        self.expect("graph")
        self.scopes.append({})
        inputs = self.sources("%", input)
        variables = self.sources("@", variable) if self.accept("variables") else ()
        self.expect("{")
        while self.token.kind is _Kind.REF:
            self.statement()
        updates = dict(self.update(variables) for _ in iter(lambda: self.accept("update"), False))
        self.expect("return")
        outputs = self.list_of(self.node, "}")
        self.scopes.pop()
        return Graph(inputs, variables, tuple(map(updates.get, variables)), tuple(outputs))

    def sources(self, sigil: str, make: Callable[..., Node]) -> tuple[Node, ...]:
        def source() -> Node:
            token = self.expect_kind(_Kind.REF)
            if token.text[0] != sigil:
                raise self.fail(f"expected a name that starts with {sigil}, found {token}", token)
            self.expect(":")
            return self.define(token, make(type=self.tensor_type(), name=_plain_name(token.text)))

        self.expect("(")
        return tuple(self.list_of(source, ")"))

    def update(self, variables: tuple[Node, ...]) -> tuple[Node, Node]:
        token = self.token
        variable = self.node()
        if variable not in variables:
            raise self.fail("only a variable of this graph can be updated", token)
        self.expect("=")
        token = self.token
        value = self.node()
        if value.type != variable.type:
            raise self.fail(f"a {variable.type} variable can't take a {value.type}", token)
        return variable, value

    def statement(self) -> None:
        result = self.expect_kind(_Kind.REF)
        self.expect("=")
        name = self.expect_kind(_Kind.WORD)
        self.expect("(")
        inputs = self.list_of(self.node, ")")
        attrs = dict(self.list_of(self.attr, "}")) if self.accept("{") else {}
        colon = self.token
        stated = self.type() if self.accept(":") else None
        where = self.user_lines.get(self.tokens[self.at - 1].line)
        try:
            node = find_op(name.text)(*inputs, where=where, **attrs)
        except (GraphcError, TypeError) as error:
            raise self.fail(f"{name.text} refuses this: {error}", name) from error
        if stated is not None and stated != node.type:
            raise self.fail(f"the text says {stated}, the type rule of {name.text} says {node.type}", colon)
        self.define(result, node)

    def define(self, token: _Token, node: Node) -> Node:
        if token.text in self.scopes[-1]:
            raise self.fail(f"{token.text} is defined twice", token)
        self.scopes[-1][token.text] = node
        return node

    def node(self) -> Node:
        """A defined name of the innermost graph: bodies are closed."""
        token = self.expect_kind(_Kind.REF)
        found = self.scopes[-1].get(token.text)
        if found is None:
            raise self.fail(f"{token.text} is not defined in this graph", token)
        return found

    # Types and values

    def type(self) -> Type:
        if self.accept("("):
            return TupleType(tuple(self.list_of(self.tensor_type, ")")))
        return self.tensor_type()

    def tensor_type(self) -> TensorType:
        dtype = self.dtype()
        self.expect("[")
        return self.shaped(dtype)

    def dtype(self) -> DType:
        token = self.expect_kind(_Kind.WORD)
        if token.text not in DTYPES:
            raise self.fail(f"expected a dtype, found {token}", token)
        return DTYPES[token.text]

    def shaped(self, dtype: DType) -> TensorType:
        shape = self.list_of(lambda: int(self.expect_kind(_Kind.INT).text), "]")
        return TensorType(dtype, tuple(shape))

    def attr(self) -> tuple[str, Any]:
        name = self.expect_kind(_Kind.WORD).text
        self.expect("=")
        return name, self.value()

    def value(self) -> Any:
        token = self.token
        match token.kind:
            case _Kind.INT | _Kind.FLOAT | _Kind.BITS:
                self.at += 1
                return _number(token)
            case _Kind.STRING:
                self.at += 1
                return json.loads(token.text)
            case _Kind.MARK if self.accept("("):
                return tuple(self.list_of(self.value, ")"))
            case _Kind.WORD:
                return self.word_value()
        raise self.fail(f"expected a value, found {token}")

    def word_value(self) -> Any:
        text = self.token.text
        if text == "graph":
            return self.graph()
        if text in DTYPES:
            return self.typed_value()
        self.at += 1
        match text:
            case "true" | "false":
                return text == "true"
            case "none":
                return None
        self.at -= 1
        raise self.fail(f"{text!r} is no value")

    def typed_value(self) -> DType | TensorType | Literal:
        """A dtype, or what can follow one: a type, and a literal of that type."""
        dtype = self.dtype()
        if not self.accept("["):
            return dtype
        type_ = self.shaped(dtype)
        if self.token.kind is _Kind.DIGEST:
            return self.named_literal(type_)
        token = self.token
        if not self.accept("("):
            return type_
        elements = self.list_of(lambda: self.element(dtype), ")")
        if len(elements) != type_.size:
            raise self.fail(f"{type_} has {type_.size} elements, not {len(elements)}", token)
        return Literal(np.frombuffer(b"".join(elements), dtype.numpy).reshape(type_.shape))

    def element(self, dtype: DType) -> bytes:
        """The bytes of one element of a literal."""
        token = self.token
        if token.kind is _Kind.BITS:
            self.at += 1
            return int(token.text, 16).to_bytes(dtype.itemsize, "little")
        value = self.value()
        if isinstance(value, bool) is not dtype.is_bool or not isinstance(value, bool | int | float):
            raise self.fail(f"{token} is no {dtype}", token)
        if dtype.is_integer and (isinstance(value, float) or not dtype.min <= value <= dtype.max):
            raise self.fail(f"{token} is no {dtype}", token)
        return np.array(value, dtype.numpy).tobytes()

    def named_literal(self, type_: TensorType) -> Literal:
        token = self.expect_kind(_Kind.DIGEST)
        digest = token.text.removeprefix("sha256:")
        if digest not in self.constants:
            raise self.fail("the table of constants lacks this digest", token)
        literal = Literal(np.asarray(self.constants[digest]))
        if literal.type != type_ or not literal.digest.startswith(digest):
            raise self.fail(f"the array given for this digest, a {literal.type}, is another one", token)
        return literal


def _plain_name(ref: str) -> str:
    """The name in a reference, without sigil and ordinal."""
    name = re.sub(r"'\d+\Z", "", ref[1:])
    return str(json.loads(name)) if name.startswith('"') else name


def _number(token: _Token) -> int | float:
    if token.kind is _Kind.INT:
        return int(token.text)
    if token.kind is _Kind.FLOAT:
        return float(token.text)
    number: float = struct.unpack("<d", int(token.text, 16).to_bytes(8, "little"))[0]
    return number


def _user_line(comment: str) -> Location | None:
    found = _USER_LINE.fullmatch(comment)
    return Location(found["file"], int(found["line"])) if found else None
