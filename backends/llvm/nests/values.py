"""The values of a kernel as LLVM operands, scalar or vector: recipes, loads, stores.

In: a kernel, its vector axis, and a place (`Point` or `Chunk`). Out: operands, each computed once per place.
What this must not know: loop orders, sweeps, tiles; whoever writes loops opens the frames and calls `prepare`
before an inner loop, so that nothing is computed again inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from graphc.errors import CompileError
from graphc.index import Index
from graphc.kernel import Accumulate, Apply, Const, Inside, Load, Position, Store, Value, dependencies
from graphc.types import DType, bool_

from ..emit.memory import Memory, first_lanes
from ..emit.primitives import Emitter
from ..emit.text import constant, memory_type, register_type
from .places import Chunk, Integer, Places, Point


class Values(Places):
    """Emits the values of one kernel into one function, in which %s0, %s1, … are the addresses of its slots."""

    def varies(self, number: int) -> bool:
        """Whether a value differs between lanes."""
        return self.lanes > 1 and self.axis in self.kernel.axes[number]

    # ---- computing ahead -------------------------------------------------------------------------------------

    def prepare(self, frame: Point, numbers: Sequence[int], stores: Sequence[Store] = ()) -> None:
        """Compute here what of `numbers`, and of the addresses of `stores`, is known here."""
        splats = {i for n in numbers if self.varies(n) for i in dependencies(self.kernel.values[n])}
        splats.update(self.kernel.stored([s for s in stores if self.axis in s.index.axes]))
        for number in numbers:
            value = self.kernel.values[number]
            known = frame.find(number) is not None
            if not self.varies(number) and (known or self._is_known(frame, number)):
                self.scalar(frame, number)
                if number in splats and self.lanes > 1:
                    self.splat(frame, number)
            else:
                for index in value.indices:
                    self.prepare_index(frame, index, value.bounds if isinstance(value, Load) else ())
        for store in stores:
            self.prepare_index(frame, store.index)

    def prepare_chunk(self, chunk: Chunk, numbers: Iterable[int]) -> None:
        """Compute here those of the varying `numbers` that do not vary over axes further in."""
        for number in numbers:
            if self.varies(number) and self._is_known(chunk.frame, number):
                self.vector(chunk, number)

    def _is_known(self, frame: Point, number: int) -> bool:
        """Whether a value can be computed in a frame, or in a chunk there."""
        value = self.kernel.values[number]
        return isinstance(value, _POINTWISE) and self.kernel.axes[number] - {self.axis} <= frame.axes.keys()

    # ---- values ----------------------------------------------------------------------------------------------

    def _in_order(self, number: int, known: Callable[[int], bool], compute: Callable[[int], None]) -> None:
        """Compute a value after what it is applied to. Chains of these may be longer than Python's stack is deep."""
        pending = [number]
        while pending:
            value = self.kernel.values[pending[-1]]
            inputs = value.inputs if isinstance(value, Apply) else ()
            waiting = next((i for i in inputs if not known(i)), None)
            if waiting is not None:
                pending.append(waiting)
            elif not known(last := pending.pop()):
                compute(last)

    def scalar(self, frame: Point, number: int) -> str:
        def compute(n: int) -> None:
            frame.known[n] = self._scalar(frame, self.kernel.values[n])

        if frame.find(number) is None:
            self._in_order(number, lambda n: frame.find(n) is not None, compute)
        return str(frame.find(number))

    def _scalar(self, frame: Point, value: Value) -> str:
        match value:
            case Const(bits=bits, dtype=dtype):
                return constant(bits, dtype, 1)
            case Apply(recipe=recipe, inputs=inputs):
                return self.scalars.recipe(recipe, tuple(self.scalar(frame, i) for i in inputs))[0]
            case Load():
                return self._scalar_load(frame, value)
            case Inside(bounds=bounds):
                return self.holds(frame, bounds) or "true"
            case Position(index=index):
                return str(self.index(frame, index))
        raise CompileError("a value is used before it is reduced", got=f"{value} in\n{self.kernel}")

    def vector(self, chunk: Chunk, number: int) -> str:
        """A value in all lanes. Lanes from the chunk's count on hold anything."""
        if self.lanes == 1:
            return self.scalar(chunk.frame, number)
        if not self.varies(number):
            return self.splat(chunk.frame, number)

        def known(n: int) -> bool:
            return not self.varies(n) or chunk.find(n) is not None

        def compute(n: int) -> None:
            chunk.known[n] = self._vector(chunk, self.kernel.values[n])

        if not known(number):
            self._in_order(number, known, compute)
        return str(chunk.find(number))

    def splat(self, frame: Point, number: int) -> str:
        """A value that does not differ between lanes, in all of them."""
        key = ("splat", number)
        found = frame.find(key)
        if found is None:
            value = self.scalar(frame, number)
            found = frame.known[key] = self.vectors.splat(value, self.kernel.dtypes[number])
        return str(found)

    def _vector(self, chunk: Chunk, value: Value) -> str:
        match value:
            case Apply(recipe=recipe, inputs=inputs):
                return self.vectors.recipe(recipe, tuple(self.vector(chunk, i) for i in inputs))[0]
            case Load():
                return self._vector_load(chunk, value)
            case Inside(bounds=bounds):
                return self.mask(chunk, bounds) or "splat (i1 true)"
            case Position(index=index):
                return self.lane_indices(chunk, index, 64)
        raise CompileError("a value is used before it is reduced", got=f"{value} in\n{self.kernel}")

    # ---- loads -----------------------------------------------------------------------------------------------

    def address(self, slot: int, at: Integer, constant: int = 0) -> str:
        """The address of an element; `constant` becomes the displacement of the access."""
        type_ = memory_type(self.kernel.slots[slot].dtype)
        return self.code.element(self.code.element(f"%s{slot}", type_, at), type_, constant)

    def _scalar_load(self, frame: Point, load: Load) -> str:
        where = self.holds(frame, load.bounds)
        at = self.index(frame, load.index, load.bounds)
        zero = constant(0, load.dtype, 1)
        if self.kernel.slots[load.slot].size == 0:
            return zero
        if where is None:
            return Memory(self.code, 1).load(self.address(load.slot, at), load.dtype)
        at = self.code.let(f"select i1 {where}, i64 {at}, i64 0")  # element 0 is there, and is not used
        loaded = Memory(self.code, 1).load(self.address(load.slot, at), load.dtype)
        t = register_type(load.dtype, 1)
        return self.code.let(f"select i1 {where}, {t} {loaded}, {t} {zero}")

    def _vector_load(self, chunk: Chunk, load: Load) -> str:
        stride, mask = self.stride(load.index), self.mask(chunk, load.bounds)
        if self.kernel.slots[load.slot].size == 0:
            return self.vectors.constant(0, load.dtype)
        if stride in (1, -1) and (mask is None or self._can_mask(chunk, load.dtype)):
            return self._neighbours(chunk, load, stride, mask)
        if stride is not None and stride != 0 and mask is not None:
            return self._strided(chunk, load, stride, mask)
        if mask is None and stride is not None:
            self.code.notes.add("loads with a stride, lane by lane")
            return self.memory.load_each(self._pointers(chunk, load, stride), load.dtype)
        return self._gather(chunk, load, mask)

    def _can_mask(self, chunk: Chunk, dtype: DType) -> bool:
        """Whether a load may have a mask that is no constant. Not of lanes that are invalid besides: on x86 before
        AVX-512, LLVM 22 forgets the mask of a register that has none but these."""
        return dtype.itemsize >= 4 and (chunk.count == self.lanes or not self.target.is_x86 or self.target.has_scale)

    def _neighbours(self, chunk: Chunk, load: Load, stride: int, mask: str | None) -> str:
        """Neighbouring elements, in order or reversed."""
        at, fixed = self.first(chunk, load.index, load.bounds)
        if stride == 1:
            return self.memory.load(self.address(load.slot, at, fixed), load.dtype, chunk.count, mask)
        # The last valid lane lies lowest.
        pointer = self.address(load.slot, at, fixed - (chunk.count - 1))
        mask = None if mask is None else self.memory.reverse(mask, bool_, chunk.count)
        return self.memory.reverse(
            self.memory.load(pointer, load.dtype, chunk.count, mask), load.dtype, chunk.count
        )

    def _pointers(self, chunk: Chunk, load: Load, stride: int) -> list[str]:
        """The address of each valid lane's element."""
        at, fixed = self.first(chunk, load.index, load.bounds)
        return [self.address(load.slot, at, fixed + lane * stride) for lane in range(chunk.count)]

    def _strided(self, chunk: Chunk, load: Load, stride: int, mask: str) -> str:
        """Elements with a stride under a mask. Mostly all lanes are inside, and then the mask does not matter; else
        lanes outside read the slot's first element, which is there, and become 0."""
        pointers = self._pointers(chunk, load, stride)
        valid = self.memory.both(mask, first_lanes(chunk.count, self.lanes))
        word, full = f"i{self.lanes}", (1 << chunk.count) - 1
        bits = self.code.let(f"bitcast {self.memory.mask_type} {valid} to {word}")
        inside = self.code.let(f"icmp eq {word} {bits}, {full}")

        def plain() -> str:
            if stride == 1:
                return self.memory.load(pointers[0], load.dtype, chunk.count)
            return self.memory.load_each(pointers, load.dtype)

        def careful() -> str:
            chosen = []
            for lane, pointer in enumerate(pointers):
                bit = self.code.let(f"extractelement {self.memory.mask_type} {mask}, i64 {lane}")
                chosen.append(self.code.let(f"select i1 {bit}, ptr {pointer}, ptr %s{load.slot}"))
            x = self.memory.load_each(chosen, load.dtype)
            return self.vectors.select(mask, x, self.vectors.constant(0, load.dtype), load.dtype)

        if stride not in (1, -1):
            self.code.notes.add("loads with a stride, lane by lane")
        return self.code.either(inside, self.vectors.type(load.dtype), plain, careful)

    def _gather(self, chunk: Chunk, load: Load, mask: str | None) -> str:
        """Elements anywhere. Lanes where the mask is off read element 0, which is there, and become 0."""
        self.code.notes.add("loads gathered lane by lane")
        at = self.lane_indices(chunk, load.index, 64, load.bounds)
        t = f"<{self.lanes} x i64>"
        if mask is not None:
            at = self.code.let(f"select {self.memory.mask_type} {mask}, {t} {at}, {t} zeroinitializer")
        places = [self.code.let(f"extractelement {t} {at}, i64 {lane}") for lane in range(chunk.count)]
        loaded = self.memory.load_each([self.address(load.slot, p) for p in places], load.dtype)
        if mask is None:
            return loaded
        v, zero = self.vectors.type(load.dtype), self.vectors.constant(0, load.dtype)
        return self.code.let(f"select {self.memory.mask_type} {mask}, {v} {loaded}, {v} {zero}")

    # ---- stores ----------------------------------------------------------------------------------------------

    def store_all(self, chunk: Chunk, stores: Sequence[Store]) -> None:
        """Carry out stores at one place: first all values, since a slot may be updated in place."""
        for number in self.kernel.stored(stores):
            self.vector(chunk, number)
        lanes = [s for s in stores if self.lanes > 1 and self.axis in s.index.axes]
        for store in lanes:
            if not self.kernel.accumulated(store):
                self._store(chunk, store)
        for state in self._states(lanes):
            self._take_in(chunk, state)
        self._store_scalars(chunk.frame, [s for s in stores if s not in lanes])

    def _store(self, chunk: Chunk, store: Store) -> None:
        """Store the valid lanes."""
        dtype = self.kernel.slots[store.slot].dtype
        x, source = self.vector(chunk, store.value), self.kernel.dtypes[store.value]
        if store.scatter:
            old = self._vector_load(chunk, Load(store.slot, store.index, (), dtype))
            x, source = self.sum(self.vectors, old, x, source, dtype), dtype
        self.store_lanes(chunk, store.slot, store.index, self.vectors.cast(x, source, dtype))

    def store_scalars(self, frame: Point, stores: Sequence[Store]) -> None:
        """Store values that do not differ between lanes."""
        for number in self.kernel.stored(stores):
            self.scalar(frame, number)
        self._store_scalars(frame, stores)

    def _store_scalars(self, frame: Point, stores: Sequence[Store]) -> None:
        memory = Memory(self.code, 1)
        for store in stores:
            if not self.kernel.accumulated(store):
                dtype = self.kernel.slots[store.slot].dtype
                x, source = self.scalar(frame, store.value), self.kernel.dtypes[store.value]
                pointer = self.address(store.slot, self.index(frame, store.index))
                if store.scatter:
                    x, source = self.sum(self.scalars, memory.load(pointer, dtype), x, source, dtype), dtype
                memory.store(pointer, self.scalars.cast(x, source, dtype), dtype)
        for state in self._states(stores):
            value = self.accumulated(state[0])
            new = tuple(self.scalar(frame, i) for i in value.inputs)
            pointers = [self.address(s.slot, self.index(frame, s.index)) for s in state]
            old = tuple(memory.load(p, c.dtype) for p, c in zip(pointers, value.init, strict=True))
            for pointer, x, c in zip(
                pointers, self.scalars.recipe(value.combine, (*old, *new)), value.init, strict=True
            ):
                memory.store(pointer, x, c.dtype)

    @staticmethod
    def sum(emitter: Emitter, old: str, x: str, source: DType, dtype: DType) -> str:
        """old + x as a value of `dtype`, the dtype of `old`; 16-bit floats are added in float32."""
        wide = dtype.computes_as
        total = emitter.add(emitter.cast(old, dtype, wide), emitter.cast(x, source, wide), wide)
        return emitter.cast(total, wide, dtype)

    # ---- states in memory ------------------------------------------------------------------------------------

    def accumulated(self, store: Store) -> Accumulate:
        """The value of a store that accumulates. Its slot holds the component of the state that `finish` gives."""
        value = self.kernel.values[store.value]
        assert isinstance(value, Accumulate)
        return value

    def _states(self, stores: Sequence[Store]) -> list[list[Store]]:
        """Those of `stores` that accumulate, together where they hold one state, in the order of its components."""
        found: dict[Hashable, list[Store]] = {}
        for store in stores:
            if self.kernel.accumulated(store):
                value = self.accumulated(store)
                alone = store.slot if len(value.init) == 1 else None
                found.setdefault((value.combine, value.inputs, value.axes, store.index, alone), []).append(store)
        return [sorted(s, key=lambda store: self.accumulated(store).finish.results[0]) for s in found.values()]

    def _take_in(self, chunk: Chunk, state: Sequence[Store]) -> None:
        """Combine a state in memory with its inputs' valid lanes."""
        value = self.accumulated(state[0])
        new = tuple(self.vector(chunk, i) for i in value.inputs)
        loads = [Load(s.slot, s.index, (), c.dtype) for s, c in zip(state, value.init, strict=True)]
        old = tuple(self._vector_load(chunk, load) for load in loads)
        for load, x in zip(loads, self.vectors.recipe(value.combine, (*old, *new)), strict=True):
            self.store_lanes(chunk, load.slot, load.index, x)

    def clear(self, chunk: Chunk, store: Store) -> None:
        """Store what is neutral where `store` accumulates."""
        value = self.accumulated(store)
        init = value.init[value.finish.results[0]]
        if self.lanes == 1 or self.axis not in store.index.axes:
            pointer = self.address(store.slot, self.index(chunk.frame, store.index))
            Memory(self.code, 1).store(pointer, self.scalars.constant(init.bits, init.dtype), init.dtype)
        else:
            self.store_lanes(chunk, store.slot, store.index, self.vectors.constant(init.bits, init.dtype))

    def extract(self, x: str, dtype: DType, lane: int) -> str:
        return self.code.let(f"extractelement {self.vectors.type(dtype)} {x}, i64 {lane}")

    def store_lanes(self, chunk: Chunk, slot: int, index: Index, x: str) -> None:
        """Store the valid lanes of a vector of the slot's dtype."""
        stride, dtype = self.stride(index), self.kernel.slots[slot].dtype
        if stride is None:
            self.code.notes.add("stores scattered lane by lane")
            at = self.lane_indices(chunk, index, 64)
            lanes = [
                self.code.let(f"extractelement <{self.lanes} x i64> {at}, i64 {i}")
                for i in range(chunk.count)
            ]
            return self.memory.store_each([self.address(slot, lane) for lane in lanes], x, dtype)
        place, fixed = self.first(chunk, index)
        if stride == 1:
            return self.memory.store(self.address(slot, place, fixed), x, dtype, chunk.count)
        if stride == -1:
            pointer = self.address(slot, place, fixed - (chunk.count - 1))
            return self.memory.store(pointer, self.memory.reverse(x, dtype, chunk.count), dtype, chunk.count)
        self.code.notes.add("stores with a stride, lane by lane")
        pointers = [self.address(slot, place, fixed + i * stride) for i in range(chunk.count)]
        return self.memory.store_each(pointers, x, dtype)


_POINTWISE = (Const, Apply, Load, Inside, Position)
