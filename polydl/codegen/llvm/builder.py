"""Writes the text of one LLVM function.

The builder numbers values and places instructions while it emits them: a pure instruction goes to the outermost open
level in which all its operands are defined (loop-invariant code never reaches a loop body) and is written once per
level. LLVM is left with the work that needs an analysis; thousands of instructions take milliseconds.

A level is a straight line of basic blocks with one entry: the function body, a loop body, a branch. While an
inner level is open, nothing but hoisted instructions is appended to the outer ones, so that their
end dominates the inner level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from polydl.codegen.llvm.values import Value, register_type, splat_literal
from polydl.dtypes import I64, DType

__all__ = ["FunctionBuilder", "Level"]


# Steps of a register tile that are spelled out two at a time: their multiply-adds, and the places in memory that move
# with them. Operands that come from the second-level cache are then asked for earlier, and there is less to do beside
# them: on a Xeon with AVX-512 products of float64 matrices take 8 % less time, convolutions 1 to 4 %; four at a time
# gain nothing more. Where each row of an operand has an address of its own, LLVM loads those of both steps first, and
# the registers do not suffice (LU took 1.4 times as long).
_SHORT_STEP: Final = range(8, 41)
_MOST_STREAMS: Final = 4


@dataclass(slots=True)
class Level:
    """One open nesting level: its text so far, the label of its last block, the pure values it defines."""

    label: str
    lines: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)


class FunctionBuilder:
    """Instructions of one function. `declarations` collects the external functions used."""

    def __init__(self, declarations: set[str]) -> None:
        self.declarations = declarations
        self.levels = [Level("entry")]
        self.allocas: list[str] = []
        self._count = 0

    # ---- text ------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        return len(self.levels) - 1

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def pure(self, rhs: str, operands: Iterable[Value], dtype: DType, lanes: int = 1) -> Value:
        """The value of a side-effect free instruction that may be speculated."""
        depth = max((o.depth for o in operands), default=0)
        return Value(self._known(rhs, depth), dtype, lanes, depth)

    def _known(self, rhs: str, depth: int) -> str:
        level = self.levels[depth]
        name = level.known.get(rhs)
        if name is None:
            name = "%" + self.fresh()
            level.known[rhs] = name
            level.lines.append(f"  {name} = {rhs}")
        return name

    def here(self, rhs: str, dtype: DType, lanes: int = 1) -> Value:
        """The value of an instruction that must stay where it is (a load, a call that may fault)."""
        name = "%" + self.fresh()
        self.levels[-1].lines.append(f"  {name} = {rhs}")
        return Value(name, dtype, lanes, self.depth)

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self.levels[-1].lines.append(f"  {text}")

    def pointer(self, base: str, base_depth: int, offset: Value) -> tuple[str, int]:
        """`base` plus `offset` bytes: the pointer's name and depth."""
        if offset.constant == 0:
            return base, base_depth
        depth = max(base_depth, offset.depth)
        return self._known(f"getelementptr i8, ptr {base}, i64 {offset.text}", depth), depth

    def alloca(self, elements: int, type_: str, align: int) -> str:
        name = "%" + self.fresh("r")
        self.allocas.append(f"  {name} = alloca [{elements} x {type_}], align {align}")
        return name

    def declare(self, text: str) -> None:
        self.declarations.add(text)

    # ---- control flow ----------------------------------------------------------------------------

    def begin(self, label: str) -> None:
        """Begin the block `label` in the current level."""
        level = self.levels[-1]
        level.lines.append(f"{label}:")
        level.label = label

    def branch_out(self, keep_going: Value, leaving: list[str]) -> None:
        """Unless `keep_going`, run the lines `leaving`, the last of which jumps away."""
        go, leave = self.fresh("go"), self.fresh("leave")
        self.do(f"br i1 {keep_going.text}, label %{go}, label %{leave}")
        self.levels[-1].lines += [f"{leave}:", *(f"  {line}" for line in leaving)]
        self.begin(go)

    @contextmanager
    def loop(self, lower: Value, upper: Value, step: int, never_empty: bool) -> Iterator[Value]:
        """`for iv in range(lower, upper, step)`; gives the iterator's value."""
        header, leave = self.fresh("loop"), self.fresh("done")
        iv, after, again = (f"%{self.fresh(p)}" for p in ("i", "n", "c"))
        self.levels.append(Level(header))
        low = lower.low
        high = None if upper.high is None else upper.high - 1
        if lower.constant is not None and upper.constant is not None and upper.constant > lower.constant:
            trips = (int(upper.constant) - int(lower.constant) + step - 1) // step
            high = int(lower.constant) + (trips - 1) * step
        yield Value(iv, I64, 1, self.depth, low=low, high=high)
        body = self.levels.pop()
        outer = self.levels[-1]
        preheader = outer.label
        if never_empty:
            outer.lines.append(f"  br label %{header}")
        else:
            test = f"%{self.fresh('c')}"
            outer.lines.append(f"  {test} = icmp slt i64 {lower.text}, {upper.text}")
            outer.lines.append(f"  br i1 {test}, label %{header}, label %{leave}")
        outer.lines.append(f"{header}:")
        outer.lines.append(f"  {iv} = phi i64 [ {lower.text}, %{preheader} ], [ {after}, %{body.label} ]")
        outer.lines += body.lines
        outer.lines.append(f"  {after} = add nsw i64 {iv}, {step}")
        outer.lines.append(f"  {again} = icmp slt i64 {after}, {upper.text}")
        twice = self._twice() if body.label == header and _is_step_of_tile(body.lines) else ""
        outer.lines.append(f"  br i1 {again}, label %{header}, label %{leave}{twice}")
        self.begin(leave)

    def _twice(self) -> str:
        """What says of a loop's last branch that LLVM is to spell out two iterations at a time."""
        number = sum(line.startswith("!") for line in self.declarations)
        self.declare(f'!{number} = distinct !{{!{number}, !{{!"llvm.loop.unroll.count", i32 2}}}}')
        return f", !llvm.loop !{number}"

    def conditional(self, cond: Value) -> Conditional:
        """An `if` whose sides are emitted one after the other."""
        return Conditional(self, cond)

    # ---- small helpers ---------------------------------------------------------------------------

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in all `lanes`."""
        if value.lanes == lanes:
            return value
        if value.constant is not None:
            text = splat_literal(value.text, value.dtype, lanes)
            return Value(text, value.dtype, lanes, 0, constant=value.constant)
        vector = register_type(value.dtype, lanes)
        one = self.pure(
            f"insertelement {vector} poison, {value.type} {value.text}, i64 0", (value,), value.dtype, lanes
        )
        return self.pure(
            f"shufflevector {vector} {one.text}, {vector} poison, <{lanes} x i32> zeroinitializer",
            (one,), value.dtype, lanes,
        )  # fmt: skip

    def iota(self, lanes: int, stride: int, dtype: DType = I64) -> Value:
        """`0, stride, 2 stride, …`."""
        scalar = register_type(dtype)
        text = "<" + ", ".join(f"{scalar} {i * stride}" for i in range(lanes)) + ">"
        return Value(text, dtype, lanes)


class Conditional:
    """An open `if`; use `then()` and `otherwise()` as context managers, then `close()`."""

    def __init__(self, builder: FunctionBuilder, cond: Value) -> None:
        self._b = builder
        self._cond = cond
        self._then: tuple[str, Level] | None = None
        self._otherwise: tuple[str, Level] | None = None

    @contextmanager
    def then(self) -> Iterator[None]:
        label = self._b.fresh("then")
        level = Level(label)
        self._then = (label, level)
        self._b.levels.append(level)
        yield
        self._b.levels.pop()

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        label = self._b.fresh("else")
        level = Level(label)
        self._otherwise = (label, level)
        self._b.levels.append(level)
        yield
        self._b.levels.pop()

    def close(self) -> tuple[str, str]:
        """Write the branch; gives the labels of the blocks from which the two sides reach the meeting point."""
        b, outer = self._b, self._b.levels[-1]
        assert self._then is not None
        meet = b.fresh("meet")
        label, level = self._then
        other = self._otherwise[0] if self._otherwise else meet
        before = outer.label
        outer.lines.append(f"  br i1 {self._cond.text}, label %{label}, label %{other}")
        outer.lines += [f"{label}:", *level.lines, f"  br label %{meet}"]
        ends = level.label, before
        if self._otherwise:
            label, level = self._otherwise
            outer.lines += [f"{label}:", *level.lines, f"  br label %{meet}"]
            ends = ends[0], level.label
        b.begin(meet)
        return ends

    def phi(self, ends: tuple[str, str], a: Value, b: Value) -> Value:
        """`a` from the first side, `b` from the second; call right after `close`."""
        return self._b.here(
            f"phi {a.type} [ {a.text}, %{ends[0]} ], [ {b.text}, %{ends[1]} ]", a.dtype, a.lanes
        )


def _is_step_of_tile(body: list[str]) -> bool:
    """Whether the body of a loop, a straight line, looks like a step of a register tile on packed operands: some
    multiply-adds of what comes from few places."""
    products = sum("@llvm.fma." in line for line in body)
    streams = sum("getelementptr" in line and ", i64 %" in line for line in body)
    return products in _SHORT_STEP and streams <= _MOST_STREAMS
