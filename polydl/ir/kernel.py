"""The typed loop IR.

Semantic contract
-----------------
* A `Kernel` is a function over buffers and symbolic sizes. Statements run in order; a `For` runs its body for
  `lower, lower + step, …` while `< upper` (the bounds are evaluated once, before the first iteration).
* `Binding` says how a loop is spelled, never what it computes: the judge has proved that running the iterations in
  the stated way gives the sequential result. `PARALLEL`: iterations may run at the same time on different threads.
  `VECTOR`: iterations are lanes (bounds `0 <= v < upper <= length`, `length` the constant number of lanes planned).
  `UNROLL`: spelled out. A back end that has no such spelling runs the loop sequentially.
* A `Buffer` is a dense row-major array of its `shape`; distinct buffers never overlap. Elements of a fresh `Alloc`
  are undefined. `REGISTER` buffers are small and, after unrolling, only have constant subscripts (up to a `Ramp`).
* An `Alloc` inside a `PARALLEL` loop is private to the iteration.
* A loop `owns` a buffer where the dependences prove that, while it runs, no cell that it stores to is read but by the
  statement that stores to it, at the same subscripts: other reads of the buffer are of other cells.
* `Barrier`: all threads of the region arrive before one leaves. Allowed only outside `PARALLEL` loops.
* `Check(cond, code)`: where `cond` is false the kernel ends at once and returns `code` (> 0); 0 means success.
* `Prefetch` has no effect on values.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from polydl.dtypes import DType
from polydl.ir.expr import Expr
from polydl.vocabulary import Binding, Memory

__all__ = [
    "Alloc",
    "Barrier",
    "Binding",
    "Block",
    "Buffer",
    "Check",
    "For",
    "If",
    "Kernel",
    "Let",
    "Memory",
    "Param",
    "Prefetch",
    "Role",
    "Stmt",
    "Store",
]


class Role(str, Enum):
    """What a kernel does with a parameter."""

    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"
    CONSTANT = "constant"  # weights: known at build time, read-only
    WORKSPACE = "workspace"  # contents undefined before and after


@dataclass(frozen=True, slots=True)
class Buffer:
    """A dense row-major array. `shape` entries are expressions over the kernel's sizes; `align` in bytes."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    memory: Memory = Memory.GLOBAL
    align: int = 64


@dataclass(frozen=True, slots=True)
class Param:
    buffer: Buffer
    role: Role


@dataclass(frozen=True, slots=True)
class Block:
    stmts: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class For:
    """`for var in range(lower, upper, step)`; `step` is a positive constant."""

    var: str
    lower: Expr
    upper: Expr
    body: Stmt
    binding: Binding = Binding.SEQUENTIAL
    step: int = 1
    length: int | None = None  # VECTOR: the planned number of lanes
    owned: tuple[str, ...] = ()  # buffers: nothing else in it touches a cell that an update in it changes
    instruction: str = ""  # of the hardware, which computes the same as this loop and those in it


@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: Stmt
    otherwise: Stmt | None = None


@dataclass(frozen=True, slots=True)
class Let:
    """Bind `var` to `value` in `body`."""

    var: str
    value: Expr
    body: Stmt


@dataclass(frozen=True, slots=True)
class Store:
    """`buffer[index] = value`, element-wise where a subscript is a vector; masked lanes are not written."""

    buffer: str
    index: tuple[Expr, ...]
    value: Expr
    mask: Expr | None = None


@dataclass(frozen=True, slots=True)
class Alloc:
    buffer: Buffer
    body: Stmt


@dataclass(frozen=True, slots=True)
class Barrier:
    pass


@dataclass(frozen=True, slots=True)
class Check:
    cond: Expr
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Prefetch:
    buffer: str
    index: tuple[Expr, ...]
    write: bool = False


Stmt: TypeAlias = Block | For | If | Let | Store | Alloc | Barrier | Check | Prefetch


@dataclass(frozen=True, slots=True)
class Kernel:
    """One compiled loop nest: `sizes` are symbolic size parameters (i64), `params` the buffers in call order."""

    name: str
    sizes: tuple[str, ...]
    params: tuple[Param, ...]
    body: Stmt
