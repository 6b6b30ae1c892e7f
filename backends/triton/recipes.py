"""Scalar recipes in Triton: short ones are expressions, longer ones device functions of their own.

In: recipes and operands. Out: expressions, and the text of the functions they call. Equal recipes share one.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.scalar import Prim, Recipe, Step

from .primitives import Expression, Operand, expression, literal
from .text import Lines, Names


class Recipes:
    """The device functions of one module: those made of recipes, and those of `functions.py` that it imports."""

    def __init__(self, names: Names) -> None:
        self.imported: set[str] = set()
        self.texts: list[str] = []
        self._names = names
        self._functions: dict[Recipe, str] = {}

    def note(self, made: Expression) -> str:
        """The text of an expression; what it calls will be imported."""
        self.imported.update(made.calls)
        return made.text

    def apply(self, recipe: Recipe, inputs: tuple[Operand, ...]) -> str:
        """An expression for the recipe's only result."""
        if _is_short(recipe):
            return recipe.run(self._inline, inputs)[0].typed
        return f"{self.function(recipe)}({', '.join(i.typed for i in inputs)})"

    def call(self, recipe: Recipe, inputs: Sequence[str]) -> str:
        """An expression for the recipe's results, a tuple of them where they are several."""
        if _is_short(recipe):
            return self.apply(
                recipe, tuple(Operand(i, d) for i, d in zip(inputs, recipe.params, strict=True))
            )
        return f"{self.function(recipe)}({', '.join(inputs)})"

    def _inline(self, step: Step, x: tuple[Operand, ...]) -> Operand:
        if step.prim is Prim.CONST:
            return literal(step.value, step.dtype)
        return Operand(self.note(expression(step, x)), step.dtype)

    def function(self, recipe: Recipe) -> str:
        """The name of the device function that carries the recipe out; several results make a tuple. It starts with
        an underscore, as no local variable does."""
        name = self._functions.get(recipe)
        if name is None:
            name = self._functions[recipe] = "_" + self._names.unique(f"{recipe.name}_{recipe.params[0]}")
            self.texts.append(self._define(name, recipe))
        return name

    def _define(self, name: str, recipe: Recipe) -> str:
        code, names = Lines(), Names()
        params = [names.unique(p) for p in _parameter_names(len(recipe.params))]

        def emit(step: Step, x: tuple[Operand, ...]) -> Operand:
            if step.prim is Prim.CONST:
                return literal(step.value, step.dtype)
            target = names.unique(step.prim.text)
            code.line(f"{target} = {self.note(expression(step, x))}")
            return Operand(target, step.dtype)

        inputs = tuple(Operand(p, d) for p, d in zip(params, recipe.params, strict=True))
        if _is_short(recipe):
            emit = self._inline
        code.line(f"return {', '.join(r.typed for r in recipe.run(emit, inputs))}")
        return code.function(name, params)


def _is_short(recipe: Recipe) -> bool:
    """Whether one expression says it all."""
    return len(recipe.results) == 1 and sum(s.prim is not Prim.CONST for s in recipe.steps) <= 1


def _parameter_names(count: int) -> list[str]:
    return ["x", "y", "z", "w"][:count] if count <= 4 else [f"x{i}" for i in range(count)]
