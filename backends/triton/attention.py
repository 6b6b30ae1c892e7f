"""Attention: sums over scores, which are products themselves and nowhere stored.

A program holds a block of rows and walks along the scores in blocks, which it makes anew by `tl.dot`. Sums that are
taken relative to a maximum follow it while it grows, so that one walk does for softmax and what it weighs; where they
can't, each level of sums takes a walk of its own. Blocks that masks leave nothing of are not walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from graphc.index import Axis, Index, axes_size
from graphc.kernel import Dot, Kernel, Reduce, Store, dependencies
from graphc.types import float32

from .attention_roles import LEAST, Bounds, Follower, Inner, Outer, Roles, Sweep, roles_of
from .contraction import dot_operand
from .plan import Blocks, plan_attention, power_of_two
from .primitives import cast, literal, triton_dtype
from .tile import Coordinates, Dim, Scope, chunk_text
from .values import Statements


def lower_attention(kernel: Kernel, values: Statements, plan: Blocks | None) -> tuple[int, Blocks]:
    """Write the kernel's body. Returns the number of programs, and the plan it was written for.

    Raises UnsupportedError with the reason for what there is no lowering of."""
    return _Attention(roles_of(kernel), values, plan).lower()


class _Attention:
    """One kernel's lowering; `scope` is what is known between walks."""

    def __init__(self, roles: Roles, values: Statements, plan: Blocks | None) -> None:
        self.roles = roles
        self.kernel = roles.kernel
        self.values = values
        self.code = values.code
        self.scope = Scope(rank=2)
        self.coordinates = Coordinates(values.code, values.used, values.wide)
        self.plan = plan or plan_of(roles)
        self.batch = Dim("batch", roles.batch)
        self.rows = Dim("row", roles.rows, self.plan.outer, 0)
        self.walk = Dim("walk", roles.walk, self.plan.inner, 1)
        self.walk_down = Dim("walk", roles.walk, self.plan.inner, 0)
        self.columns = {group: Dim("columns", group, _padded(group), 1) for group in roles.columns}
        self.held: dict[int, str] = {}  # the held operands of inner products that are read once
        self.row_start = ""  # the first of the program's rows, where there are several blocks of them

    def lower(self) -> tuple[int, Blocks]:
        grid = (self.batch, self.rows)
        programs = self.coordinates.spread(grid, self.scope)
        chunk = chunk_text(self.rows, 1, programs)
        self.row_start = f"{chunk} * {self.rows.block}" if chunk else ""
        for dim in self.columns.values():
            self.coordinates.place(dim, "", self.scope)
        for inner in self.roles.inners:
            is_same = not self.kernel.axes[inner.held] & frozenset(self.roles.around)
            if is_same and self._depth_chunks(inner) == 1:
                self.held[inner.number] = self._held(inner, self.scope, "")
        for sweep in self.roles.sweeps:
            self._sweep(sweep)
        self._store_rows()
        return programs, self.plan

    # A walk

    def _sweep(self, sweep: Sweep) -> None:
        code, values = self.code, self.values
        roots = [i for n in self._sums(sweep) for i in self._scores(n)] + [s.value for s in sweep.stores]
        values.emit(roots, self.scope, self._is_known_before)
        states = {n: self._initial(n) for n in self._sums(sweep)}
        shifts = {key: values.names.unique("shift") for key in dict.fromkeys(_key(f) for f in sweep.followers)}
        for name in shifts.values():
            code.line(f"{name} = tl.zeros(({self.rows.block}, 1), tl.float32)")
        bounds = self.roles.bounds_of(sweep)
        with self._blocks(bounds.conditions, whole=self._look(bounds)) as scope:
            down = self._scores_of_block(roots, scope)
            self._take_in(sweep.first, states, scope, down)
            self._follow(sweep, states, shifts, scope, down)
            for store in sweep.stores:
                values.emit([store.value], scope)
                values.store(store, scope, (*self.rows.axes, *self.walk.axes))
        for number in sweep.first:
            self._finish(number, states[number])
        for follower in sweep.followers:
            self._catch_up(follower, states[follower.number], shifts[_key(follower)])
        if bounds.later:
            self._walk_again(sweep, bounds, states, roots)
        for follower in sweep.followers:
            self._finish(follower.number, states[follower.number])

    def _scores_of_block(self, roots: Sequence[int], scope: Scope) -> Scope:
        """Compute the inner products that are needed; the scope in which the walk goes down."""
        for inner in self.roles.inners:
            if inner.number in self.values.needed(roots, scope):
                self._inner(inner, scope)
        return self._down(scope) if self.roles.outers else scope

    def _look(self, bounds: Bounds) -> str:
        """The name of a number that is not 0 if no block may be left out; nothing if there is none to be."""
        if not bounds.conditions or not (bounds.held or bounds.walked):
            return ""
        code, values, whole = self.code, self.values, self.values.names.unique("whole")
        code.line(f"{whole} = tl.zeros((), tl.int32)")
        self._note(whole, bounds.held, bounds, self.scope, self.rows)
        if bounds.walked:
            with self._blocks(()) as scope:
                values.emit(bounds.walked, scope)
                self._note(whole, bounds.walked, bounds, scope, self.walk)
        return whole

    def _note(self, name: str, numbers: Iterable[int], bounds: Bounds, scope: Scope, dim: Dim) -> None:
        """Set a number to 1 where one of the values is not finite, or a divisor 0."""
        for number in numbers:
            self.values.emit([number], scope)
            x = self.values.operand(number, scope).typed
            found = f"(({x} != 0.0) & ({x} == {x}))" if number in bounds.divisors else f'(tl.abs({x}) < float("inf"))'
            found = " & ".join([f"({found} == 0)", *scope.guard(dim.axes)])
            shape = [1, 1]
            shape[dim.place or 0] = dim.block
            text = f"tl.broadcast_to({found}, {tuple(shape)}).to(tl.int32)"
            self.code.line(f"{name} = tl.maximum({name}, tl.max(tl.max({text}, 1), 0))")

    def _walk_again(
        self, sweep: Sweep, bounds: Bounds, states: dict[int, list[str]], roots: Sequence[int]
    ) -> None:
        """If there is a row that is masked throughout, make the sums once more, along all there is and with maxima as
        they are."""
        code, again = self.code, self.values.names.unique("again")
        code.line(f"{again} = tl.zeros((), tl.int32)")
        self._note(again, bounds.later, bounds, self.scope, self.rows)
        for name in (name for f in sweep.followers for name in states[f.number]):
            code.line(f"{name} = tl.where({again} != 0, 0.0, {name})")
        self.values.emit([f.by for f in sweep.followers], self.scope)
        with self._blocks((), factor=again) as scope:
            down = self._scores_of_block(roots, scope)
            self._take_in([f.number for f in sweep.followers], states, scope, down)

    def _sums(self, sweep: Sweep) -> list[int]:
        return [*sweep.first, *(f.number for f in sweep.followers)]

    def _scores(self, number: int) -> tuple[int, ...]:
        """The values that a sum takes in, of those that vary over rows."""
        value = self.kernel.values[number]
        return (self._outer(number).scores,) if isinstance(value, Dot) else dependencies(value)

    def _outer(self, number: int) -> Outer:
        return next(o for o in self.roles.outers if o.number == number)

    def _is_known_before(self, number: int) -> bool:
        """Whether a value is the same for all blocks of a walk, and for all columns."""
        own = {*self.batch.axes, *self.rows.axes}
        known = all(i in self.scope.values for i in self._sums_below(number))
        return known and self.kernel.axes[number] <= own

    def _sums_below(self, number: int) -> set[int]:
        """Products and reductions that a value depends on."""
        value = self.kernel.values[number]
        if isinstance(value, Dot | Reduce):
            return {number}
        return set().union(*(self._sums_below(i) for i in dependencies(value)))

    @contextmanager
    def _blocks(self, conditions: Sequence[Index], whole: str = "", factor: str = "") -> Iterator[Scope]:
        """The loops over blocks of scores; inside, a scope with the block's coordinates. `whole`: is not 0 where
        conditions do not count. `factor`: 0 where there is nothing to do, else 1."""
        scope, code = self.scope, self.code
        with ExitStack() as stack:
            for axis in self.roles.around:
                at = self.values.names.unique(f"{axis.name}_at")
                stack.enter_context(code.block(f"for {at} in range(0, {axis.size})"))
                scope = scope.child()
                self.coordinates.place(Dim("around", (axis,)), at, scope)
            first, last = self._bounds(scope, conditions)
            if whole:
                first = first if first == "0" else f"tl.where({whole} != 0, 0, {first})"
                last = last if last.isdecimal() else f"tl.where({whole} != 0, {self.walk.size}, {last})"
            last = f"{last} * {factor}" if factor else last
            stack.enter_context(code.block(f"for start in range({first}, {last}, {self.walk.block})"))
            scope = scope.child()
            self.coordinates.place(self.walk, "start", scope)
            yield scope

    def _bounds(self, scope: Scope, conditions: Sequence[Index]) -> tuple[str, str]:
        """From where to where conditions can hold for the program's rows."""
        first, last = ["0"], [str(self.walk.size)]
        for condition in conditions:
            (along,) = [condition.coefficient(a) for a in self.walk.axes]
            if along < 0:  # |along| · walk ≤ rest; of a negative rest comes at most 0, as it should
                rest = self._largest(condition + -along, scope)
                last.append(f"({rest}) // {-along}" if along < -1 else rest)
            elif along > 0:  # along · walk ≥ -rest
                rest = self._largest(condition - (along - 1), scope)
                first.append(f"-({rest}) // {along * self.walk.block} * {self.walk.block}")
            else:  # all or nothing
                last.append(f"tl.where({self._largest(condition, scope)} >= 0, {self.walk.size}, 0)")
        return self._nearest(first, False), self._nearest(last, True)

    def _nearest(self, texts: Sequence[str], is_last: bool) -> str:
        """The largest of where a walk begins, or the smallest of where it ends."""
        nearest, function, wanted = (min, "minimum", "last") if is_last else (max, "maximum", "first")
        text = str(nearest(int(t) for t in texts if t.isdecimal()))
        others = dict.fromkeys(t for t in texts if not t.isdecimal())
        if not others:
            return text
        for other in others:
            text = f"tl.{function}({text}, {other})"
        name = self.values.names.unique(f"{wanted}_block")
        self.code.line(f"{name} = {text}")
        return name

    def _largest(self, condition: Index, scope: Scope) -> str:
        """The most that a condition can be in the program's rows, less what it owes to the walk."""
        parts, constant = [], condition.constant

        def add(text: str, factor: int) -> None:
            parts.append(text if factor == 1 else f"{text} * {factor}")

        for axis, factor in condition.terms:
            assert isinstance(axis, Axis)
            if axis in self.walk.axes:
                continue
            if axis in self.batch.axes or axis in self.roles.around:
                add(scope.coordinates[axis], factor)
            elif self.rows.axes == (axis,) and self.row_start:
                end = f"tl.minimum({self.row_start} + {self.rows.block - 1}, {axis.size - 1})"
                add(end if factor > 0 else self.row_start, factor)
            else:
                constant += max(factor * (axis.size - 1), 0)
        return " + ".join([*parts, str(constant)] if constant or not parts else parts)

    # Products

    def _depth_chunks(self, inner: Inner) -> int:
        return Dim("depth", inner.depth, self._depth(inner)).chunks

    def _depth(self, inner: Inner) -> int:
        return min(_padded(inner.depth), self.plan.depth)

    def _held(self, inner: Inner, scope: Scope, start: str) -> str:
        """The operand of an inner product that varies over rows: rows by depth."""
        inside, depth = scope.child(), Dim("depth", inner.depth, self._depth(inner), 1)
        self.coordinates.place(depth, start, inside)
        self.values.emit([inner.held], inside)
        return dot_operand(self.kernel, self.values, inner.held, inside, depth, self.rows, inner.dtype)

    def _walked(self, inner: Inner, scope: Scope, start: str) -> str:
        """The other one: depth by the walk."""
        inside, depth = scope.child(), Dim("depth", inner.depth, self._depth(inner), 0)
        self.coordinates.place(depth, start, inside, "_t")
        self.values.emit([inner.walked], inside)
        return dot_operand(self.kernel, self.values, inner.walked, inside, depth, self.walk, inner.dtype)

    def _inner(self, inner: Inner, scope: Scope) -> None:
        """The scores of a block."""
        code, name = self.code, self.values.names.unique("scores")
        scope.values[inner.number] = name
        zeros = f"tl.zeros(({self.rows.block}, {self.walk.block}), tl.float32)"
        if held := self.held.get(inner.number):
            walked = self._walked(inner, scope, "")
            code.line(f'{name} = tl.dot({held}, {walked}, {zeros}, input_precision="ieee")')
            return
        code.line(f"{name} = {zeros}")
        start = self.values.names.unique("depth_start")
        with code.block(f"for {start} in range(0, {axes_size(inner.depth)}, {self._depth(inner)})"):
            held, walked = self._held(inner, scope, start), self._walked(inner, scope, start)
            code.line(f'{name} = tl.dot({held}, {walked}, {name}, input_precision="ieee")')

    def _down(self, scope: Scope) -> Scope:
        """A scope in which the block's walk goes down, as in what products of scores weigh."""
        down = self.scope.child()
        for axis in self.roles.around:
            down.coordinates[axis], down.dims[axis] = scope.coordinates[axis], scope.dims[axis]
        self.coordinates.place(self.walk_down, "start", down, "_t")
        return down

    def _add_product(self, outer: Outer, total: str, scope: Scope, down: Scope) -> None:
        """Add the product of a block of scores and of what it weighs."""
        self.values.emit([outer.scores], scope)
        if not outer.columns:
            self._add_vector(outer, total, scope)
            return
        columns, dtype = self.columns[outer.columns], outer.dtype
        scores = dot_operand(self.kernel, self.values, outer.scores, scope, self.walk, self.rows, dtype)
        self.values.emit([outer.other], down)
        other = dot_operand(self.kernel, self.values, outer.other, down, self.walk_down, columns, dtype)
        self.code.line(f'{total} = tl.dot({scores}, {other}, {total}, input_precision="ieee")')

    def _add_vector(self, outer: Outer, total: str, scope: Scope) -> None:
        """The same where one number is weighed by each score."""
        self.values.emit([outer.other], scope)
        operands = (self.values.operand(i, scope) for i in (outer.scores, outer.other))
        a, b = (self.values.recipes.note(cast(x, float32)) for x in operands)
        shape = (self.rows.block, self.walk.block)
        text = f"tl.broadcast_to({a} * {b}, {shape})"
        if guards := scope.guard(self.walk.axes):
            text = f"tl.where({' & '.join(guards)}, {text}, 0.0)"
        self.code.line(f"{total} = {total} + tl.sum({text}, 1, keep_dims=True)")

    # Sums

    def _initial(self, number: int) -> list[str]:
        """Names of a sum's running state, which starts neutral: one for each row, or row and column."""
        value, code, unique = self.kernel.values[number], self.code, self.values.names.unique
        if isinstance(value, Dot):
            name, columns = unique("total"), self._outer(number).columns
            wide = self.columns[columns].block if columns else 1
            code.line(f"{name} = tl.zeros(({self.rows.block}, {wide}), tl.float32)")
            return [name]
        names = []
        for init in self._reduce(number).init:
            names.append(unique(f"{self._reduce(number).finish.name}_state"))
            start = literal(init.value, init.dtype).text
            code.line(f"{names[-1]} = tl.full(({self.rows.block}, 1), {start}, {triton_dtype(init.dtype)})")
        return names

    def _take_in(
        self, numbers: Iterable[int], states: dict[int, list[str]], scope: Scope, down: Scope
    ) -> None:
        """Add a block's share to sums."""
        for number in numbers:
            if isinstance(self.kernel.values[number], Dot):
                self._add_product(self._outer(number), states[number][0], scope, down)
            else:
                self._combine(number, states[number], self._of_block(number, scope))

    def _follow(
        self, sweep: Sweep, states: dict[int, list[str]], shifts: dict[tuple[int, float], str], scope: Scope,
        down: Scope,
    ) -> None:  # fmt: skip
        """The sums that follow: first what they are at the maxima of all blocks so far, then this block's share."""
        if not shifts:
            return
        code, values, running = self.code, self.values, scope.child()
        for number in sweep.first:
            if not isinstance(self.kernel.values[number], Dot):
                values.apply_to(number, self._reduce(number).finish, states[number], running)
        scales = {}
        values.recipes.imported.add("exp")
        for (by, factor), shift in shifts.items():
            values.emit([by], running)
            grown, scale = values.names.unique("grown"), values.names.unique("scale")
            # Where nothing has been seen yet there is nothing to scale, nor a maximum to take scores relative to.
            code.line(f'{grown} = {_finite(values.operand(by, running).typed)}')
            code.line(f"{scale} = exp({_difference(grown, shift, factor)})")
            code.line(f'{scale} = tl.where({scale} == float("inf"), 0.0, {scale})')
            code.line(f"{shift} = {grown}")
            scales[by, factor] = scale
            scope.values[by] = grown
        for follower in sweep.followers:
            number, scale = follower.number, scales[_key(follower)]
            (state,) = states[number]
            code.line(f"{state} = {state} * {scale}")
            self._take_in([number], states, scope, down)

    def _catch_up(self, follower: Follower, states: Sequence[str], shift: str) -> None:
        """What a sum is at the maximum itself, which may be −inf or NaN."""
        self.values.emit([follower.by], self.scope)
        (state,) = states
        by = self.values.operand(follower.by, self.scope).typed
        self.code.line(f"{state} = {state} * exp({_difference(by, shift, follower.factor)})")

    def _of_block(self, number: int, scope: Scope) -> list[str]:
        """A reduction's states of a block of scores, one for each row."""
        value, values = self._reduce(number), self.values
        values.emit(value.inputs, scope)
        shape, texts = (self.rows.block, self.walk.block), []
        for i, init in zip(value.inputs, value.init, strict=True):
            text, span = values.operand(i, scope).typed, values.spans[i]
            if scope.shape(span) != shape:
                text = f"tl.broadcast_to({text}, {shape})"
            if guards := scope.guard(self.walk.axes):
                text = f"tl.where({' & '.join(guards)}, {text}, {literal(init.value, init.dtype).text})"
            texts.append(text)
        names = [values.names.unique(value.finish.name) for _ in texts]
        elements = f"({', '.join(texts)})" if len(texts) > 1 else texts[0]
        combine = values.recipes.function(value.combine)
        self.code.line(f"{', '.join(names)} = tl.reduce({elements}, 1, {combine}, keep_dims=True)")
        return names

    def _combine(self, number: int, states: Sequence[str], others: Sequence[str]) -> None:
        combined = self.values.recipes.call(self._reduce(number).combine, (*states, *others))
        self.code.line(f"{', '.join(states)} = {combined}")

    def _finish(self, number: int, states: Sequence[str]) -> None:
        if isinstance(self.kernel.values[number], Dot):
            self.scope.values[number] = states[0]
        else:
            self.values.apply_to(number, self._reduce(number).finish, states, self.scope)

    def _reduce(self, number: int) -> Reduce:
        value = self.kernel.values[number]
        assert isinstance(value, Reduce)
        return value

    # Results

    def _store_rows(self) -> None:
        """What is stored for each row, and for each row and column."""
        stores = [s for s in self.kernel.stores if not self.roles.is_along(s)]
        self.values.emit([s.value for s in stores], self.scope)
        for store in stores:
            self.values.store(store, self.scope, self._block_axes(store))

    def _block_axes(self, store: Store) -> tuple[Axis, ...] | None:
        """The axes that a stored text is a block over whatever its value varies over: sums are, over all rows."""
        if not self.roles.levels[store.value]:
            return None
        axes = self.kernel.axes[store.value]
        return (*self.rows.axes, *(a for c in self.roles.columns if axes & set(c) for a in c))


def plan_of(roles: Roles) -> Blocks:
    """The blocks that the backend chooses."""
    columns = [_padded(o.columns) for o in roles.outers if o.columns]
    depths = [_padded(i.depth) for i in roles.inners]
    dtypes = [*(i.dtype for i in roles.inners), *(o.dtype for o in roles.outers)]
    narrow = all(d.bits == 16 for d in dtypes)
    return plan_attention(axes_size(roles.rows), axes_size(roles.walk), depths, columns, narrow)


def _padded(axes: tuple[Axis, ...]) -> int:
    return max(LEAST, power_of_two(axes_size(axes)))


def _key(follower: Follower) -> tuple[int, float]:
    return follower.by, follower.factor


def _finite(text: str) -> str:
    return f'tl.where({text} == float("-inf"), 0.0, {text})'


def _difference(new: str, old: str, factor: float) -> str:
    """factor · (new − old)"""
    return f"{old} - {new}" if factor == -1 else f"({new} - {old}) * {factor!r}"
