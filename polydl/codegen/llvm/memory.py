"""Buffers as pointers and strides; loads and stores, scalar, contiguous, strided, gathered and masked."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final

from polydl.codegen.llvm.offsets import Affine, Offsets
from polydl.codegen.llvm.ops import Ops
from polydl.codegen.llvm.shuffles import column, every, slid, turn
from polydl.codegen.llvm.values import Value, boolean, integer, memory_type, splat_literal
from polydl.dtypes import BOOL, I32, DType
from polydl.ir.kernel import Memory

__all__ = ["Memories", "Place"]

_INT32: Final = 2**31 - 1
_LARGEST_STRIDE: Final = 8  # a gather takes about one load per lane, this way it is one per stride
_LEAST_WIDTH: Final = 4  # rows of register tiles that are worth transposing


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer lives: its pointer, the byte alignment of that, and the stride of each dimension in elements."""

    name: str
    dtype: DType
    pointer: str
    align: int
    strides: tuple[int | Value, ...]
    extents: tuple[int | None, ...]
    memory: Memory
    scopes: str = ""  # alias metadata to hang on every access

    @property
    def elements(self) -> int | None:
        total = 1
        for extent in self.extents:
            if extent is None:
                return None
            total *= extent
        return total


class Memories:
    """Accesses to places. Masks are vectors of booleans, or None for "all lanes".

    The masked intrinsics are written in the form of LLVM 20, which later versions upgrade.
    """

    def __init__(self, ops: Ops, offsets: Offsets) -> None:
        self.ops, self.b, self.offsets = ops, ops.b, offsets

    # ---- addresses -------------------------------------------------------------------------------

    def flatten(self, place: Place, index: tuple[Affine, ...]) -> Affine:
        """The element number of a subscript in row-major order."""
        total = Affine()
        for subscript, stride in zip(index, place.strides, strict=True):
            if isinstance(stride, int):
                total = self.offsets.add(total, subscript, stride)
                continue
            product = self.offsets.times(subscript, stride)
            if product is None:
                vector = self.offsets.value(subscript)
                factor = self.b.splat(stride, subscript.lanes)
                product = self.offsets.of(self.ops.binary("mul", vector, factor))
            total = self.offsets.add(total, product)
        return total

    def in_bounds(self, place: Place, index: tuple[Affine, ...]) -> bool:
        """Whether every lane provably lies inside the buffer."""
        for subscript, extent in zip(index, place.extents, strict=True):
            bounds = self.offsets.range(subscript)
            if extent is None or bounds is None or bounds[0] < 0 or bounds[1] >= extent:
                return False
        return True

    def address(self, place: Place, element: Affine) -> tuple[Value, int]:
        """The pointer to a (scalar) element number, and what it is aligned to."""
        size = place.dtype.bytes
        align = gcd(place.align, element.const * size) or place.align
        for _, coefficient in element.terms.values():
            align = gcd(align, coefficient * size)
        pointer, depth = place.pointer, 0
        for part in self.offsets.bytes(element, size):
            pointer, depth = self.b.pointer(pointer, depth, part)
        if element.const:
            pointer, depth = self.b.pointer(pointer, self.b.depth, integer(element.const * size))
        return Value(pointer, place.dtype, 1, depth), align

    def _base(self, element: Affine) -> Affine:
        """The element of lane 0."""
        return Affine(element.const, element.terms)

    def _pointers(self, place: Place, element: Affine) -> Value:
        """A vector of pointers, by 32-bit offsets where the buffer is known to be small enough."""
        count = place.elements
        vector = self.offsets.value(element)
        if count is not None and count <= _INT32:
            vector = self.ops.cast(I32, vector)
        rhs = f"getelementptr {memory_type(place.dtype)}, ptr {place.pointer}, {vector.type} {vector.text}"
        return self.b.pure(rhs, (vector,), place.dtype, element.lanes)

    # ---- loads -----------------------------------------------------------------------------------

    def load(self, place: Place, element: Affine, mask: Value | None) -> Value:
        """The elements at `element`; masked lanes are 0 and not accessed (registers never fault: read, then blend)."""
        lanes = element.lanes
        if mask is not None and place.memory == Memory.REGISTER:
            whole = self.load(place, element, None)
            return self.ops.select(mask, whole, Value(*_zero(place.dtype)))
        if mask is not None and mask.lanes > lanes:
            return self._gather(place, Affine(element.const, element.terms, element.lane, mask.lanes), mask)
        if lanes == 1 and mask is not None:
            return self._guarded(place, element, mask)
        if element.is_vector_sum:
            return self._gather(place, element, mask)
        if lanes > 1 and element.lane == 0 and mask is None:
            return self.b.splat(self.load(place, self._base(element), None), lanes)
        if lanes > 1 and element.lane == -1:
            turned = None if mask is None else turn(self.b, mask)
            return turn(self.b, self.load(place, _turned(element), turned))
        if lanes > 1 and element.lane != 1:
            shuffled = self._strided(place, element, lanes) if mask is None else None
            return shuffled if shuffled is not None else self._gather(place, element, mask)
        shift = element.const % lanes
        if place.memory == Memory.REGISTER and shift and not element.terms:
            low, high = (self._run(place, element, element.const - shift + k * lanes, lanes) for k in (0, 1))
            return slid(self.b, low, high, shift)
        pointer, align = self.address(place, self._base(element))
        kind = memory_type(place.dtype, lanes)
        if mask is None:
            return self._bits(
                self.b.here(
                    f"load {kind}, ptr {pointer.text}, align {align}{place.scopes}", *_raw(place, lanes)
                )
            )
        name = f"@llvm.masked.load.{_suffix(place.dtype, lanes)}.p0"
        self.b.declare(f"declare {kind} {name}(ptr, i32 immarg, <{lanes} x i1>, {kind})")
        call = f"call {kind} {name}(ptr {pointer.text}, i32 {align}, {mask.type} {mask.text}, {kind} zeroinitializer)"
        return self._bits(self.b.here(call + place.scopes, *_raw(place, lanes)))

    def _guarded(self, place: Place, element: Affine, mask: Value) -> Value:
        """A scalar load under a scalar condition."""
        branch = self.b.conditional(mask)
        with branch.then():
            value = self.load(place, element, None)
        return branch.phi(branch.close(), value, Value(*_zero(place.dtype)))

    def load_first(self, place: Place, element: Affine, count: int, mask: Value) -> Value:
        """As `load` with a mask that is known to have just the first `count` lanes set."""
        strided = not element.is_vector_sum and element.lane > 1 and place.memory != Memory.REGISTER
        shuffled = self._strided(place, element, count) if strided else None
        if shuffled is None:
            return self.load(place, element, mask)
        return self.ops.select(mask, shuffled, Value(*_zero(place.dtype)))

    def _strided(self, place: Place, element: Affine, count: int) -> Value | None:
        """`count` lanes a stride apart as shuffles of contiguous loads; None where a gather is as good.

        A column of a register tile comes out of its transposition. In memory overlapping loads reach from the first
        element that is asked for exactly to the last.
        """
        lanes, stride = element.lanes, element.lane
        if place.dtype == BOOL:
            return None
        width = min(lanes, stride & -stride) if stride > 0 else 0
        if place.memory == Memory.REGISTER and not element.terms and width >= _LEAST_WIDTH:
            k = element.const % width
            starts = [element.const - k + r * stride for r in range(lanes)]
            return column(self.b, [self._run(place, element, start, width) for start in starts], k)
        if not 1 < stride <= min(lanes, _LARGEST_STRIDE):
            return None
        last = stride * (count - 1) + 1 - lanes
        if last < 0:
            return None
        starts = [*range(0, last, lanes), last]
        pieces = [self._run(place, element, element.const + start, lanes) for start in starts]
        return every(self.b, pieces, starts, stride, count)

    def _run(self, place: Place, element: Affine, start: int, lanes: int) -> Value:
        """`lanes` contiguous elements from `start` (beside the varying part of `element`)."""
        return self.load(place, Affine(start, element.terms, 1, lanes), None)

    def _gather(self, place: Place, element: Affine, mask: Value | None) -> Value:
        lanes = element.lanes
        pointers = self._pointers(place, element)
        kind = memory_type(place.dtype, lanes)
        name = f"@llvm.masked.gather.{_suffix(place.dtype, lanes)}.v{lanes}p0"
        self.b.declare(f"declare {kind} {name}(<{lanes} x ptr>, i32 immarg, <{lanes} x i1>, {kind})")
        chosen = mask.text if mask is not None else splat_literal("true", BOOL, lanes)
        size = place.dtype.bytes
        call = (
            f"call {kind} {name}(<{lanes} x ptr> {pointers.text}, i32 {size}, "
            f"<{lanes} x i1> {chosen}, {kind} zeroinitializer)"
        )
        return self._bits(self.b.here(call + place.scopes, *_raw(place, lanes)))

    def _bits(self, loaded: Value) -> Value:
        """Booleans are bytes in memory and bits in registers."""
        if loaded.dtype != BOOL:
            return loaded
        kind = memory_type(BOOL, loaded.lanes)
        return self.b.pure(f"icmp ne {kind} {loaded.text}, zeroinitializer" if loaded.lanes > 1 else
                           f"icmp ne i8 {loaded.text}, 0", (loaded,), BOOL, loaded.lanes)  # fmt: skip

    # ---- stores ----------------------------------------------------------------------------------

    def store(self, place: Place, element: Affine, value: Value, mask: Value | None) -> None:
        """Write `value`; a scalar value fills all lanes."""
        lanes = max(element.lanes, mask.lanes if mask is not None else 1)
        element = Affine(element.const, element.terms, element.lane, lanes)
        value = self.b.splat(value, lanes)
        if mask is not None and lanes > 1:
            mask = self.b.splat(mask, lanes)
        if mask is not None and place.memory == Memory.REGISTER:
            value, mask = self.ops.select(mask, value, self.load(place, element, None)), None
        if lanes == 1 and mask is not None:
            branch = self.b.conditional(mask)
            with branch.then():
                self.store(place, element, value, None)
            branch.close()
            return
        if lanes > 1 and element.lane == -1 and not element.is_vector_sum:
            turned = None if mask is None else turn(self.b, mask)
            self.store(place, _turned(element), turn(self.b, value), turned)
            return
        if place.dtype == BOOL:
            kind = memory_type(BOOL, lanes)
            widened = self.b.pure(f"zext {value.type} {value.text} to {kind}", (value,), BOOL, lanes)
            value = Value(widened.text, BOOL, lanes, widened.depth)
        if lanes > 1 and (element.is_vector_sum or element.lane != 1):
            self._scatter(place, element, value, mask)
            return
        pointer, align = self.address(place, self._base(element))
        kind = memory_type(place.dtype, lanes)
        if mask is None:
            self.b.do(f"store {kind} {value.text}, ptr {pointer.text}, align {align}{place.scopes}")
            return
        name = f"@llvm.masked.store.{_suffix(place.dtype, lanes)}.p0"
        self.b.declare(f"declare void {name}({kind}, ptr, i32 immarg, <{lanes} x i1>)")
        call = (
            f"call void {name}({kind} {value.text}, ptr {pointer.text}, i32 {align}, {mask.type} {mask.text})"
        )
        self.b.do(call + place.scopes)

    def _scatter(self, place: Place, element: Affine, value: Value, mask: Value | None) -> None:
        lanes = element.lanes
        pointers = self._pointers(place, element)
        kind = memory_type(place.dtype, lanes)
        name = f"@llvm.masked.scatter.{_suffix(place.dtype, lanes)}.v{lanes}p0"
        self.b.declare(f"declare void {name}({kind}, <{lanes} x ptr>, i32 immarg, <{lanes} x i1>)")
        chosen = mask.text if mask is not None else splat_literal("true", BOOL, lanes)
        call = (
            f"call void {name}({kind} {value.text}, <{lanes} x ptr> {pointers.text}, i32 {place.dtype.bytes}, "
            f"<{lanes} x i1> {chosen})"
        )
        self.b.do(call + place.scopes)

    def prefetch(self, place: Place, element: Affine, write: bool) -> None:
        """Touch the line of lane 0; no effect on values."""
        pointer, _ = self.address(place, self._base(element))
        self.b.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.b.do(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 {int(write)}, i32 3, i32 1)")


def _turned(element: Affine) -> Affine:
    """The same elements in ascending order."""
    return Affine(element.const - element.lanes + 1, element.terms, 1, element.lanes)


def _raw(place: Place, lanes: int) -> tuple[DType, int]:
    return place.dtype, lanes


def _zero(dtype: DType) -> tuple[str, DType, int, int, int | float | bool]:
    if dtype == BOOL:
        return boolean(False).text, BOOL, 1, 0, False
    return ("0x0000000000000000" if dtype.bits > 16 else "0xH0000", dtype, 1, 0, 0.0) if dtype.is_float else (
        "0", dtype, 1, 0, 0)  # fmt: skip


def _suffix(dtype: DType, lanes: int) -> str:
    scalar = f"f{dtype.bits}" if dtype.is_float else f"i{dtype.bits}"
    return f"v{lanes}{scalar}"
