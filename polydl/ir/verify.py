"""The contract of the loop IR as a check: `verify(kernel)` returns quietly, or raises InvalidProgram.

What is checked: every variable is defined once on the way from the kernel to its use and never shadowed; buffers
exist, have the rank they are used with, and only writable ones are stored to; operands have one type and fitting
lanes; a `VECTOR` loop runs from 0 in steps of 1 with a planned length; subscripts of `REGISTER` buffers are constant
once unrolled and vector loops are spelled out; a `Barrier` stands outside `PARALLEL` loops.
"""

from __future__ import annotations

from typing import Final, NoReturn, assert_never

from polydl.dtypes import BOOL, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import (
    BINARY_OPS,
    FUNCTIONS,
    UNARY_OPS,
    Binary,
    Broadcast,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Ramp,
    ReduceLanes,
    Select,
    Unary,
    Var,
    walk,
)
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Binding,
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Let,
    Memory,
    Prefetch,
    Role,
    Stmt,
    Store,
)
from polydl.ir.printer import print_expr, print_kernel
from polydl.ir.rewrite import loops
from polydl.ir.semantics import limits

__all__ = ["verify"]

_LOGIC: Final = frozenset({"and", "or"})
_INTEGER_ONLY: Final = frozenset({"floordiv", "mod", "bitand", "bitor", "bitxor", "shl", "shr"})
_READ_ONLY: Final = frozenset({Role.INPUT, Role.CONSTANT})
_SHOWN_LINES: Final = 20  # of the kernel's text before and after the marked line


def verify(kernel: Kernel) -> None:
    """Checks `kernel` against the loop IR's contract; InvalidProgram shows the program with the place marked."""
    _Verifier(kernel).kernel()


class _Verifier:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._at: Kernel | Stmt = kernel
        self._variables: dict[str, tuple[DType, int]] = {}
        self._buffers: dict[str, tuple[Buffer, bool]] = {}  # with: may be written
        self._steady: set[str] = set()  # variables that are constants once loops are spelled out
        self._parallel = 0

    def _fail(self, what: str, why: str = "", next: str = "") -> NoReturn:
        text = print_kernel(self._kernel, lambda s: what if s is self._at else None).split("\n")
        marked = _marked_line(text)
        start, end = max(0, marked - _SHOWN_LINES), marked + _SHOWN_LINES + 1
        shown = ["…"] * (start > 0) + text[start:end] + ["…"] * (end < len(text))
        raise InvalidProgram(what, where="\n    " + "\n    ".join(shown), why=why, next=next)

    # ---- statements

    def kernel(self) -> None:
        for name in self._kernel.sizes:
            self._define(name, INDEX, 1)
        for p in self._kernel.params:
            self._declare(p.buffer, p.role not in _READ_ONLY)
        self._stmt(self._kernel.body)

    def _define(self, name: str, dtype: DType, lanes: int) -> None:
        if name in self._variables:
            self._fail(f"variable '{name}' is defined twice", "a name means one thing throughout a scope")
        self._variables[name] = (dtype, lanes)

    def _declare(self, b: Buffer, writable: bool) -> None:
        if b.name in self._buffers:
            self._fail(f"buffer '{b.name}' is defined twice", "a name means one thing throughout a scope")
        for extent in b.shape:
            self._scalar(extent, INDEX, f"an extent of buffer '{b.name}'")
        if b.align <= 0 or b.align & (b.align - 1):
            self._fail(f"buffer '{b.name}' is aligned to {b.align} bytes, which is no power of two")
        if b.memory == Memory.REGISTER and not all(isinstance(x, Const) for x in b.shape):
            self._fail(
                f"register buffer '{b.name}' has no constant shape",
                "registers have names, no addresses",
            )
        self._buffers[b.name] = (b, writable)

    def _stmt(self, s: Stmt) -> None:
        outer, self._at = self._at, s
        match s:
            case Block(stmts):
                for inner in stmts:
                    self._stmt(inner)
            case For():
                self._for(s)
            case If(cond, then, otherwise):
                self._scalar(cond, BOOL, "a condition")
                self._stmt(then)
                if otherwise is not None:
                    self._stmt(otherwise)
            case Let(var, value, body):
                self._expr(value)
                self._define(var, value.dtype, value.lanes)
                steady = self._is_steady(value)
                if steady:
                    self._steady.add(var)
                self._stmt(body)
                self._steady.discard(var)
                del self._variables[var]
            case Store():
                self._store(s)
            case Alloc(buffer, body):
                self._declare(buffer, writable=True)
                self._stmt(body)
                del self._buffers[buffer.name]
            case Barrier():
                if self._parallel:
                    self._fail(
                        "a barrier inside a parallel loop",
                        "threads would wait for iterations that never come",
                    )
            case Check(cond, code):
                self._scalar(cond, BOOL, "a checked condition")
                if code <= 0:
                    self._fail(f"the code {code} of a check is not positive", "0 means success")
            case Prefetch(buffer, index):
                self._subscripts(buffer, index)
            case _:
                assert_never(s)
        self._at = outer

    def _for(self, s: For) -> None:
        self._scalar(s.lower, INDEX, "a loop bound")
        self._scalar(s.upper, INDEX, "a loop bound")
        if s.step <= 0:
            self._fail(f"loop '{s.var}' has the step {s.step}", "steps are positive")
        if s.binding == Binding.VECTOR:
            if s.lower != Const(0, INDEX) or s.step != 1:
                self._fail(
                    f"vector loop '{s.var}' does not run from 0 in steps of 1", "its iterations are lanes"
                )
            if s.length is None or s.length <= 0:
                self._fail(f"vector loop '{s.var}' has no planned number of lanes")
            if isinstance(s.upper, Const) and s.upper.value > s.length:
                self._fail(f"vector loop '{s.var}' has more iterations than its {s.length} lanes")
            for inner in loops(s.body):
                if inner.binding in (Binding.VECTOR, Binding.PARALLEL):
                    self._at = inner
                    self._fail(f"{inner.binding.value} loop '{inner.var}' inside vector loop '{s.var}'")
        elif s.length is not None:
            self._fail(f"loop '{s.var}' plans {s.length} lanes but is not a vector loop")
        for name in s.owned:
            if name not in self._buffers:
                self._fail(f"loop '{s.var}' owns '{name}', which is not declared")
        self._define(s.var, INDEX, 1)
        spelled_out = s.binding in (Binding.UNROLL, Binding.VECTOR) and self._is_steady(s.lower)
        if spelled_out and (s.binding == Binding.VECTOR or self._is_limited(s.upper)):
            self._steady.add(s.var)
        self._parallel += s.binding == Binding.PARALLEL
        self._stmt(s.body)
        self._parallel -= s.binding == Binding.PARALLEL
        self._steady.discard(s.var)
        del self._variables[s.var]

    def _store(self, s: Store) -> None:
        lanes = self._subscripts(s.buffer, s.index)
        buffer, writable = self._buffers[s.buffer]
        if not writable:
            self._fail(f"buffer '{s.buffer}' is read-only", "it is an input or a constant")
        self._expr(s.value)
        if s.value.dtype != buffer.dtype:
            self._fail(
                f"a value of type {s.value.dtype} is stored to buffer '{s.buffer}' of type {buffer.dtype}"
            )
        self._mask(s.mask, lanes)
        if s.value.lanes not in (1, lanes):
            self._fail(f"a vector of {s.value.lanes} lanes is stored to {lanes} elements")

    def _subscripts(self, name: str, index: tuple[Expr, ...]) -> int:
        """Checks subscripts of a buffer; the number of elements they name."""
        if name not in self._buffers:
            self._fail(
                f"buffer '{name}' does not exist here",
                next="allocate it around its uses",
            )
        buffer, _ = self._buffers[name]
        if len(index) != len(buffer.shape):
            self._fail(
                f"buffer '{name}' has rank {len(buffer.shape)} and is used with {len(index)} subscripts"
            )
        for i in index:
            self._expr(i)
            if i.dtype != INDEX:
                self._fail(f"subscript {print_expr(i)} has type {i.dtype}, not {INDEX}")
            if buffer.memory == Memory.REGISTER and not self._is_steady(i):
                self._fail(
                    f"subscript {print_expr(i)} of register buffer '{name}' is not constant after unrolling",
                    "registers cannot be addressed by a value of run time",
                    "unroll the loop, or allocate the buffer in local memory",
                )
        return self._lanes("the subscripts", index)

    def _is_limited(self, upper: Expr) -> bool:
        """Whether a loop up to here can be spelled out: a constant number of iterations, perhaps each under a guard."""
        match upper:
            case Binary(op="min", a=a, b=b):
                return self._is_limited(a) or self._is_limited(b)
            case _:
                return self._is_steady(upper)

    def _is_steady(self, e: Expr) -> bool:
        """Whether `e` is a constant (up to lanes) once unrolled and vector loops are spelled out."""
        return all(
            not isinstance(x, Load) and (not isinstance(x, Var) or x.name in self._steady) for x in walk(e)
        )

    # ---- expressions

    def _scalar(self, e: Expr, dtype: DType, what: str) -> None:
        self._expr(e)
        if e.dtype != dtype or e.lanes != 1:
            lanes = "" if e.lanes == 1 else f" of {e.lanes} lanes"
            self._fail(f"{what}, {print_expr(e)}, has type {e.dtype}{lanes}, not {dtype}")

    def _mask(self, mask: Expr | None, lanes: int) -> None:
        if mask is not None:
            self._expr(mask)
            if mask.dtype != BOOL or mask.lanes not in (1, lanes):
                self._fail(
                    f"mask {print_expr(mask)} is {mask.dtype} of {mask.lanes} lanes, not bool of {lanes}"
                )

    def _lanes(self, what: str, es: tuple[Expr, ...]) -> int:
        """The common number of lanes of operands; scalars fit every vector."""
        widths = {e.lanes for e in es} - {1}
        if len(widths) > 1:
            self._fail(f"{what} have {' and '.join(map(str, sorted(widths)))} lanes")
        return max(widths, default=1)

    def _typed(self, what: str, ok: bool, e: Expr) -> None:
        if not ok:
            self._fail(f"{what} is not defined on type {e.dtype}")

    def _expr(self, e: Expr) -> None:
        match e:
            case Const(value, dtype):
                self._literal(value, dtype)
            case Var(name, dtype, lanes):
                if name not in self._variables:
                    self._fail(f"variable '{name}' is not defined here")
                if self._variables[name] != (dtype, lanes):
                    known, width = self._variables[name]
                    self._fail(f"variable '{name}' is {known} of {width} lanes, used as {dtype} of {lanes}")
            case Load(buffer, index, dtype, mask):
                lanes = self._subscripts(buffer, index)
                self._mask(mask, lanes)
                if self._buffers[buffer][0].dtype != dtype:
                    self._fail(f"buffer '{buffer}' holds {self._buffers[buffer][0].dtype}, read as {dtype}")
            case Unary(op, x):
                self._expr(x)
                if op not in UNARY_OPS:
                    self._fail(f"there is no unary operator '{op}'")
                number = x.dtype.is_integer or (x.dtype.is_float and op != "invert")
                self._typed(f"'{op}'", x.dtype == BOOL if op == "not" else number, x)
            case Binary():
                self._binary(e)
            case Call(function, operands):
                if FUNCTIONS.get(function) != len(operands):
                    self._fail(f"there is no function '{function}' of {len(operands)} operands")
                for x in operands:
                    self._expr(x)
                    self._typed(f"function '{function}'", x.dtype.is_float, x)
                if len({x.dtype for x in operands}) > 1:
                    self._fail(
                        f"the operands of '{function}' have several types", next="write cast(dtype, x)"
                    )
                self._lanes(f"the operands of '{function}'", operands)
            case Select(c, a, b):
                for x in (c, a, b):
                    self._expr(x)
                if c.dtype != BOOL or a.dtype != b.dtype:
                    self._fail(
                        f"select on {c.dtype}, {a.dtype} and {b.dtype}",
                        "it takes bool and one type twice",
                    )
                self._lanes("the operands of select", (c, a, b))
            case Cast(_, x):
                self._expr(x)
            case Ramp(base, _, lanes):
                self._scalar(base, INDEX, "the base of a ramp")
                if lanes < 1:
                    self._fail(f"a ramp of {lanes} lanes")
            case Broadcast(x, lanes):
                self._expr(x)
                if x.lanes != 1 or lanes < 1:
                    self._fail(f"a broadcast of {x.lanes} lanes to {lanes}")
            case ReduceLanes(op, x):
                self._expr(x)
                logical = op in _LOGIC
                if op not in _LOGIC | {"add", "mul", "min", "max"}:
                    self._fail(f"lanes cannot be combined by '{op}'")
                self._typed(f"combining lanes by '{op}'", (x.dtype == BOOL) == logical, x)
            case _:
                assert_never(e)

    def _literal(self, value: float, dtype: DType) -> None:
        if dtype.is_float:
            return
        if not isinstance(value, int) or not limits(dtype)[0] <= value <= limits(dtype)[1]:
            self._fail(f"{value!r} is not a value of type {dtype}")

    def _binary(self, e: Binary) -> None:
        self._expr(e.a)
        self._expr(e.b)
        if e.op not in BINARY_OPS:
            self._fail(f"there is no operator '{e.op}'")
        if e.a.dtype != e.b.dtype:
            self._fail(
                f"'{e.op}' meets operands of types {e.a.dtype} and {e.b.dtype} in {print_expr(e)}",
                "types are never mixed silently",
                "write cast(dtype, x) around one of them",
            )
        if e.op in _LOGIC:
            allowed = e.a.dtype == BOOL
        elif e.op in _INTEGER_ONLY:
            allowed = e.a.dtype.is_integer
        else:
            allowed = e.a.dtype != BOOL or e.op in ("eq", "ne")
        self._typed(f"'{e.op}'", allowed, e.a)
        self._lanes(f"the operands of '{e.op}'", (e.a, e.b))


def _marked_line(lines: list[str]) -> int:
    """The number of the line that the printer marked."""
    return next((i for i, line in enumerate(lines) if "  # <== " in line), 0)
