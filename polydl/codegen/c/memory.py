"""Buffers as C arrays and variables; loads and stores: scalar, contiguous, strided, gathered and masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from polydl.codegen.c.values import ADDITIVE, ATOM, BITWISE, TERNARY, Value, literal, memory_dtype
from polydl.dtypes import BOOL, INDEX, U8, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Const, Expr, Load, Ramp, Unary
from polydl.ir.kernel import Memory

if TYPE_CHECKING:
    from polydl.codegen.c.expressions import Expressions

__all__ = ["Memories", "Place", "Register", "Split", "strides_of"]


@dataclass(frozen=True, slots=True)
class Register:
    """A variable that holds the elements `offset … offset + lanes - 1` of a buffer."""

    name: str
    offset: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer lies: an array `name`, or the variables `registers` by the offset of each of their elements."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    strides: tuple[Expr, ...]
    memory: Memory
    registers: Mapping[int, Register] | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """The subscript `base + stride * (0, 1, …, lanes - 1)`."""

    base: Expr
    stride: int
    lanes: int


def strides_of(shape: tuple[Expr, ...], padded: int | None = None) -> tuple[Expr, ...]:
    """Row-major strides in elements; `padded` replaces the last extent."""
    strides: list[Expr] = []
    step: Expr = Const(1, INDEX)
    for k in reversed(range(len(shape))):
        strides.append(step)
        extent = Const(padded, INDEX) if padded is not None and k == len(shape) - 1 else shape[k]
        if isinstance(step, Const) and isinstance(extent, Const):
            step = Const(prod((int(step.value), int(extent.value))), INDEX)
        else:
            step = extent if isinstance(step, Const) and step.value == 1 else step * extent
    return tuple(reversed(strides))


class Memories:
    """Accesses to places."""

    def __init__(self, expressions: Expressions) -> None:
        self.e, self.lanes = expressions, expressions.lanes
        self.places: dict[str, Place] = {}

    def place(self, buffer: str) -> Place:
        if buffer not in self.places:
            raise InvalidProgram(f"the buffer '{buffer}' is not declared", where=f"kernel {self.e.kernel}")
        return self.places[buffer]

    # ---- subscripts ------------------------------------------------------------------------------

    def flatten(self, place: Place, index: tuple[Expr, ...]) -> Expr:
        """The element number of a subscript in row-major order."""
        total: Expr = Const(0, INDEX)
        for subscript, stride in zip(index, place.strides, strict=True):
            total = total + subscript * stride
        return total

    def split(self, e: Expr) -> Split | None:
        """`e` as a scalar and a multiple of the lane numbers; None where it has lanes of another kind, or may wrap."""
        form = self.e.known.linear(e, ())
        if form is None:
            return None
        base: Expr | None = None
        stride = 0
        for atom, factor in sorted(form.terms, key=lambda term: term[1] < 0):
            match atom:
                case Ramp(base=Const(value=0), stride=1):
                    stride += factor
                    continue
                case _ if atom.lanes > 1:
                    return None
            size = abs(factor)
            term = atom if size == 1 else Binary("mul", Const(size, INDEX), atom)
            if base is None:
                base = term if factor > 0 else Unary("neg", term)
            else:
                base = Binary("add" if factor > 0 else "sub", base, term)
        if base is None:
            base = Const(form.const, INDEX)
        elif form.const:
            sign = "add" if form.const > 0 else "sub"
            base = Binary(sign, base, Const(abs(form.const), INDEX))
        return Split(base, stride, e.lanes)

    def in_bounds(self, place: Place, index: tuple[Expr, ...]) -> bool:
        """Whether every lane provably lies inside the buffer."""
        for subscript, extent in zip(index, place.shape, strict=True):
            low, high = self.e.known.interval(subscript)
            if low < 0 or not isinstance(extent, Const) or high >= int(extent.value):
                return False
        return True

    def _pointer(self, place: Place, base: Value) -> str:
        return place.name if base.constant == 0 else f"{place.name} + {base.within(ADDITIVE)}"

    def _element(self, place: Place, base: Value) -> str:
        return f"{place.name}[{base.text}]"

    def _register(self, place: Place, index: tuple[Expr, ...]) -> tuple[Register, int, int] | None:
        """The variable an access means, the first lane of it, and their number."""
        if place.registers is None:
            return None
        where = self.split(self.flatten(place, index))
        assert where is not None
        assert isinstance(where.base, Const)  # which made them registers
        offset = int(where.base.value)
        register = place.registers[offset]
        return register, offset - register.offset, where.lanes if where.stride else 1

    # ---- loads -----------------------------------------------------------------------------------

    def load(self, e: Load, mask: Value | None) -> Value:
        """The elements that `e` names. Lanes outside of `mask` are not accessed, those outside its own mask are 0."""
        place = self.place(e.buffer)
        own = None if e.mask is None else self.e.value(e.mask, mask)
        both = self.e.meet(mask, own)
        lanes = max(e.lanes, own.lanes if own is not None else 1)
        if both is not None and (place.registers is not None or self.in_bounds(place, e.index)):
            whole = self._bits(self._load(place, e.index, None, mask), e.dtype)
            return whole if own is None else self._zeroed(own, whole, lanes)
        if both is None or both.lanes > 1:
            if both is not None and e.lanes == 1:  # all lanes read one element, if any does
                any_ = Value(f"{self.lanes.any(both.bits, both.lanes)}({both.text})", BOOL)
                return self._guarded(any_, self._bits(self._load(place, e.index, None, mask), e.dtype))
            return self._bits(self._load(place, e.index, both, mask), e.dtype)
        return self._guarded(both, self._bits(self._load(place, e.index, None, mask), e.dtype))

    def _zero(self, like: Value) -> Value:
        zero = literal(0, like.dtype)
        if like.lanes == 1:
            return zero
        return (
            self.e.mask(zero, like.bits, like.lanes) if like.dtype == BOOL else self.e.splat(zero, like.lanes)
        )

    def _zeroed(self, own: Value, whole: Value, lanes: int) -> Value:
        if own.lanes == 1:
            return self._guarded(own, whole)
        if whole.lanes == 1:
            whole = self.e.splat(whole, lanes)
        return self.e.choose(own, whole, self._zero(whole))

    def _guarded(self, cond: Value, whole: Value) -> Value:
        """The value under a scalar condition, else 0."""
        text = f"{cond.within(BITWISE)} ? {whole.within(BITWISE)} : {self._zero(whole).text}"
        return Value(text, whole.dtype, whole.lanes, whole.bits, TERNARY)

    def _load(self, place: Place, index: tuple[Expr, ...], mask: Value | None, outer: Value | None) -> Value:
        """Raw elements. A vector `mask` guards the lanes; subscripts are evaluated under `outer`."""
        dtype = memory_dtype(place.dtype)
        register = self._register(place, index)
        if register is not None:
            return self._read(register, dtype, max(i.lanes for i in index))
        flat = self.flatten(place, index)
        lanes = flat.lanes
        where = self.split(flat)
        guard = "" if mask is None else f", {self.e.mask(mask, dtype.bits, lanes).text}"
        if where is None:
            vector = self.e.value(self.e.known.simplify(flat), mask if mask is not None else outer)
            name = self.lanes.gather(dtype, lanes, mask is not None)
            return Value(f"{name}({place.name}, {vector.text}{guard})", dtype, lanes)
        base = self.e.value(where.base, outer)
        if lanes == 1:
            return Value(self._element(place, base), dtype)
        pointer = self._pointer(place, base)
        if where.stride == 0 and mask is None:
            return self.e.splat(Value(self._element(place, base), dtype), lanes)
        if where.stride == 1:
            name = self.lanes.load(dtype, lanes) if mask is None else self.lanes.load_masked(dtype, lanes)
            return Value(f"{name}({pointer}{guard})", dtype, lanes)
        if where.stride == 2 and mask is None:
            return Value(f"{self.lanes.every_second(dtype, lanes)}({pointer})", dtype, lanes)
        name = self.lanes.strided(dtype, lanes, mask is not None)
        return Value(f"{name}({pointer}, {where.stride}{guard})", dtype, lanes)

    def _read(self, register: tuple[Register, int, int], dtype: DType, lanes: int) -> Value:
        variable, first, count = register
        if count == variable.lanes:
            return Value(variable.name, dtype, count)
        if count == 1:
            return self.e.splat(Value(f"{variable.name}[{first}]", dtype), lanes)
        text = ", ".join(f"{variable.name}[{first + k}]" for k in range(count))
        return Value(f"({self.e.lib.type(dtype, count)}){{{text}}}", dtype, count)

    def _bits(self, loaded: Value, dtype: DType) -> Value:
        """Booleans are bytes in memory."""
        if dtype != BOOL:
            return loaded
        if loaded.lanes == 1:
            return Value(f"({loaded.within(ATOM)} != 0)", BOOL)
        name = self.e.arithmetic.truth("!=", U8, loaded.lanes)
        zero = self.e.splat(literal(0, U8), loaded.lanes)
        return Value(f"{name}({loaded.text}, {zero.text})", BOOL, loaded.lanes, 8)

    # ---- stores ----------------------------------------------------------------------------------

    def store(self, buffer: str, index: tuple[Expr, ...], value: Value, mask: Value | None) -> str:
        """The statement that writes `value`; a scalar value fills all lanes."""
        place = self.place(buffer)
        dtype = memory_dtype(place.dtype)
        lanes = max((i.lanes for i in index), default=1)
        value = self._bytes(value, lanes)
        register = self._register(place, index)
        if register is not None:
            return self._write(register, value, mask)
        flat = self.flatten(place, index)
        where = self.split(flat)
        if lanes == 1:
            base = self.e.value(flat if where is None else where.base)
            text = f"{self._element(place, base)} = {value.text};"
            return text if mask is None else f"if ({mask.text}) {text}"
        if mask is not None and mask.lanes == 1:
            return f"if ({mask.text}) {self.store(buffer, index, value, None)}"
        guard = "" if mask is None else f", {self.e.mask(mask, dtype.bits, lanes).text}"
        masked = mask is not None
        if where is None:
            vector = self.e.value(self.e.known.simplify(flat), mask)
            name = self.lanes.scatter(dtype, lanes, False, masked)
            return f"{name}({place.name}, {vector.text}, {value.text}{guard});"
        pointer = self._pointer(place, self.e.value(where.base))
        if where.stride == 1:
            name = self.lanes.store_masked(dtype, lanes) if masked else self.lanes.store(dtype, lanes)
            return f"{name}({pointer}, {value.text}{guard});"
        return f"{self.lanes.scatter(dtype, lanes, True, masked)}({pointer}, {where.stride}, {value.text}{guard});"

    def _write(self, register: tuple[Register, int, int], value: Value, mask: Value | None) -> str:
        variable, first, count = register
        if count == variable.lanes:
            if mask is not None and mask.lanes > 1:
                value = self.e.choose(mask, value, Value(variable.name, value.dtype, count))
                mask = None
            text = f"{variable.name} = {value.text};"
            return text if mask is None else f"if ({mask.text}) {text}"
        guard = "" if mask is None else f"if ({mask.text}) " if mask.lanes == 1 else None
        if count == 1:
            return f"{guard or ''}{variable.name}[{first}] = {value.text};"
        test = "if (m[k]) " if guard is None else ""
        setup = f"{self.e.lib.type(value.element, count)} v = {value.text};"
        if guard is None and mask is not None:
            setup += f" {self.e.lib.type(mask.element, count)} m = {mask.text};"
        move = f"for (int k = 0; k < {count}; k++) {test}{variable.name}[{first} + k] = v[k];"
        return f"{guard or ''}{{ {setup} {move} }}"

    def _bytes(self, value: Value, lanes: int) -> Value:
        """What is stored: booleans become bytes, scalars fill the lanes."""
        if value.dtype != BOOL:
            return self.e.splat(value, lanes)
        if lanes == 1:
            return Value(value.text, U8, prec=value.prec)
        value = self.e.mask(value, value.bits or 8, lanes)
        return Value(f"{self.lanes.truth_bytes(lanes, value.bits)}({value.text})", U8, lanes)

    def pointer(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """The address of an element."""
        place = self.place(buffer)
        return f"({self._pointer(place, self.e.value(self.flatten(place, index)))})"

    def prefetch(self, buffer: str, index: tuple[Expr, ...], write: bool) -> str | None:
        """Touch the line of lane 0; nothing to do for variables."""
        place = self.place(buffer)
        where = None if place.registers is not None else self.split(self.flatten(place, index))
        if where is None:
            return None
        return f"__builtin_prefetch({self._pointer(place, self.e.value(where.base))}, {int(write)}, 3);"
