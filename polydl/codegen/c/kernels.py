"""One kernel of the loop IR as one C function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Final, assert_never

from polydl.codegen.c.expressions import Expressions
from polydl.codegen.c.library import Library
from polydl.codegen.c.memory import Place, strides_of
from polydl.codegen.c.names import Names
from polydl.codegen.c.registers import registers_of
from polydl.codegen.c.summary import remark, summary
from polydl.codegen.c.values import ADDITIVE, Value, memory_dtype, scalar_type
from polydl.codegen.cpu import LARGEST_STACK_BUFFER, LocalBytes, Routine, lower
from polydl.codegen.passes import shared_buffers
from polydl.codegen.passes.walk import contains, subscript_lanes
from polydl.codegen.tensor import operands_of
from polydl.dtypes import BOOL, I64, INDEX
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, Load, Var, walk
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Block,
    Buffer,
    Check,
    For,
    If,
    Let,
    Memory,
    Prefetch,
    Role,
    Stmt,
    Store,
)
from polydl.ir.rewrite import EMPTY, block, loads, map_stmts, substitute_stmt
from polydl.ir.simplifier import Range, Simplifier
from polydl.ir.simplify import simplify_stmt
from polydl.targets import Target

__all__ = ["KernelText", "emit_kernel"]

# A tensor dimension is never negative and fits the address space; both let subscript arithmetic be simplified.
_SIZES: Final = Range(0, 2**47)
_THREADS: Final = {"thread": Range(0, 2**15), "threads": Range(1, 2**15)}


@dataclass(frozen=True, slots=True)
class KernelText:
    """A function `int32_t NAME(buffers…, scratch…, shared…, sizes…, thread, threads, barrier)`. It returns 0, or the
    code of a failed check."""

    text: str
    local: LocalBytes


def emit_kernel(routine: Routine, used_by: tuple[str, ...], target: Target, library: Library) -> KernelText:
    """The C function of a kernel; `used_by` names the steps that call it."""
    return _KernelEmitter(routine, used_by, target, library).emit()


class _KernelEmitter:
    def __init__(self, routine: Routine, used_by: tuple[str, ...], target: Target, library: Library) -> None:
        self.routine, self.used_by, self.lib, self.target = routine, used_by, library, target
        self.sizes = routine.kernel.sizes
        self.shared = shared_buffers(routine.kernel)
        self.kernel = lower(routine.kernel, target)
        known = dict.fromkeys(self.sizes, _SIZES) | _THREADS
        self.body = simplify_stmt(map_stmts(self.kernel.body, _inline_lanes), known)
        self.e = Expressions(library, target, self.kernel.name, Simplifier(known))
        self.names = Names()
        self.lanes = subscript_lanes(self.body)
        self.has_barrier, self.has_check = contains(self.body, Barrier), contains(self.body, Check)
        self.lines: list[str] = []
        self.depth = 1
        self.exit: str | None = None  # label that ends the part without barriers, where checks do not return
        self.scratch: dict[Buffer, str] = {}
        self.common: dict[Buffer, str] = {}

    # ---- frame -----------------------------------------------------------------------------------

    def emit(self) -> KernelText:
        for name in ("thread", "threads"):
            self.e.names[name] = Value(name, I64)
        for size in self.sizes:
            self.e.names[size] = Value(self.names.fresh(size), I64)
        for param in self.kernel.params:
            self._declare(param.buffer, self.names.fresh(param.buffer.name))
        self._statement(self.body)
        jumps = self.has_check and self.has_barrier
        head = ["    int32_t status = 0;"] if jumps else []
        body = [*head, *self.lines, f"    return {'status' if jumps else '0'};"]
        parameters = self._parameters()
        used = set(re.findall(r"[A-Za-z_]\w*", "\n".join(body)))
        unused = [f"    (void){name};" for _, name, _ in parameters if name not in used]
        signature = [f"    {kind}{name}{',' if k < len(parameters) - 1 else ')'}{f' /* {note} */' if note else ''}"
                     for k, (kind, name, note) in enumerate(parameters)]  # fmt: skip
        text = "\n".join([
            *summary(self.routine.kernel, self.used_by),
            f"static NOINLINE int32_t {self.routine.name}(", *signature, "{", *unused, *body, "}",
        ])  # fmt: skip
        return KernelText(text, LocalBytes(*(tuple(map(_bytes, t)) for t in (self.scratch, self.common))))

    def _parameters(self) -> list[tuple[str, str, str]]:
        """(type, name, remark) of every parameter. Across a barrier other threads write, which `restrict` denies."""
        mark = "" if self.has_barrier else "restrict "
        result = []
        for param in self.routine.kernel.params:
            buffer = param.buffer
            const = "const " if param.role in (Role.INPUT, Role.CONSTANT) else ""
            kind = f"{const}{scalar_type(memory_dtype(buffer.dtype))} *{mark}"
            result.append((kind, self.e.place(buffer.name).name, self._shape(buffer)))
        for table in (self.scratch, self.common):
            for buffer, name in table.items():
                kind = f"{scalar_type(memory_dtype(buffer.dtype))} *{mark}"
                note = "of all threads" if table is self.common else "of this thread"
                result.append((kind, name, f"{self._shape(buffer)}, {note}"))
        result += [("int64_t ", self.e.names[size].text, "") for size in self.sizes]
        return [*result, ("int64_t ", "thread", ""), ("int64_t ", "threads", ""), ("void *", "barrier", "")]

    def _shape(self, buffer: Buffer) -> str:
        return f"{buffer.dtype}[{', '.join(self.e.value(x).text for x in buffer.shape)}]"

    def _declare(self, buffer: Buffer, name: str) -> None:
        self.e.memory.places[buffer.name] = Place(
            name, buffer.dtype, buffer.shape, strides_of(buffer.shape), buffer.memory
        )

    # ---- text ------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def _braces(self, head: str) -> Iterator[None]:
        self._line(f"{head} {{" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self._line("}")

    # ---- statements ------------------------------------------------------------------------------

    def _statement(self, s: Stmt) -> None:
        """A statement. In kernels with both checks and barriers a failed check ends the enclosing barrier-free
        part only: the thread must still arrive at the barriers."""
        if self.exit is not None or not (self.has_check and self.has_barrier) or contains(s, Barrier):
            self._plain(s)
            return
        self.exit = self.names.fresh("skip")
        with self._braces("if (!status)"):
            self._plain(s)
        if contains(s, Check):
            self._line(f"{self.exit}:;")
        self.exit = None

    def _plain(self, s: Stmt) -> None:
        match s:
            case Block(stmts=stmts):
                for k, stmt in enumerate(stmts):
                    if isinstance(stmt, Let | Alloc) and k < len(stmts) - 1:
                        with self._braces(""):
                            self._statement(stmt)
                    else:
                        self._statement(stmt)
            case For():
                self._loop(s)
            case If():
                self._if(s)
            case Let():
                self._let(s)
            case Store(buffer=buffer, index=index, value=value, mask=mask):
                lanes = None if mask is None else self.e.value(mask)
                self._line(self.e.memory.store(buffer, index, self.e.value(value), lanes))
            case Alloc(buffer=buffer, body=body):
                self._allocate(buffer, body)
            case Barrier():
                self._line("polydl_barrier(barrier, threads);")
            case Check(cond=cond, code=code, message=message):
                leave = f"return {code};"
                if self.exit is not None:
                    leave = f"{{ status = {code}; goto {self.exit}; }}"
                self._line(f"if (!({self.e.value(cond).text})) {leave} /* {remark(message)} */")
            case Prefetch(buffer=buffer, index=index, write=write):
                text = self.e.memory.prefetch(buffer, index, write)
                if text is not None:
                    self._line(text)
            case _:
                assert_never(s)

    def _loop(self, s: For) -> None:
        spelled = s.instruction and self._instruction(s)
        if spelled:
            self.lines.append("#else")
        self._plain_loop(s)
        if spelled:
            self.lines.append("#endif")

    def _instruction(self, s: For) -> bool:
        """The loops as a hardware instruction, where the compiler's flags allow it; what follows is for elsewhere."""
        found = operands_of(s, self.target)
        if found is None or not found[0].c:
            return False
        chosen, operands = found
        pointers = {n: self.e.memory.pointer(x.buffer, x.index) for n, x in operands.items()}
        self.lib.intrinsics = True
        self.lines.append(f"#if defined({chosen.c_macro})")
        with self._braces(""):
            for line in chosen.c:
                self._line(line.format(**pointers))
        return True

    def _plain_loop(self, s: For) -> None:
        lower, upper = self.e.value(s.lower), self.e.value(s.upper)
        name = self.names.fresh(s.var)
        scope = [name]
        end = upper.within(ADDITIVE)
        plain = isinstance(s.upper, Const | Var)
        if not plain:
            scope.append(self.names.fresh(f"{s.var}_end"))
            end = scope[-1]
        low, high = self.e.known.interval(s.lower)[0], self.e.known.interval(s.upper)[1] - 1
        if isinstance(s.lower, Const):
            high -= (high - int(s.lower.value)) % s.step
        step = "++" if s.step == 1 else f" += {s.step}"
        head = f"for (int64_t {name} = {lower.text}"
        if not plain:  # evaluated once
            self._line(f"{head},")
            self._line(f"             {end} = {upper.text};")
            head = "    "
        with self._braces(f"{head}{'; ' if plain else ' '}{name} < {end}; {name}{step})"):
            self._bound(s.var, Value(name, I64), Range(low, high), s.body)
        self.names.release(scope)

    def _bound(self, var: str, value: Value, known: Range | None, body: Stmt) -> None:
        """`body` where the variable has a value."""
        before = self.e.names.get(var)
        self.e.names[var] = value
        if known is not None:
            self.e.known.bind(var, known)
        self._statement(body)
        if before is None:
            del self.e.names[var]
        else:
            self.e.names[var] = before

    def _if(self, s: If) -> None:
        here = self.e.known
        with self._braces(f"if ({self.e.value(s.cond).text})"):
            self.e.known = here.assuming(s.cond, True)
            self._statement(s.then)
        if s.otherwise is not None:
            with self._braces("else"):
                self.e.known = here.assuming(s.cond, False)
                self._statement(s.otherwise)
        self.e.known = here

    def _let(self, s: Let) -> None:
        value = self.e.value(s.value)
        name = self.names.fresh(s.var)
        kind = (
            "bool" if value.dtype == BOOL and value.lanes == 1 else self.lib.type(value.element, value.lanes)
        )
        here = len(self.lines)
        self._line(f"const {kind} {name} = {value.text};")
        bound = Value(name, value.dtype, value.lanes, value.bits)
        known = Range(*self.e.known.interval(s.value)) if s.value.dtype.is_integer else None
        self._bound(s.var, bound, known, s.body)
        self.names.release([name])
        if not any(re.search(rf"\b{name}\b", line) for line in self.lines[here + 1 :]):
            del self.lines[here]  # what is known here made it superfluous

    # ---- local buffers ---------------------------------------------------------------------------

    def _allocate(self, buffer: Buffer, body: Stmt) -> None:
        if not all(isinstance(x, Const) for x in buffer.shape):
            raise InvalidProgram(
                f"the local buffer '{buffer.name}' has a symbolic shape",
                where=f"kernel {self.kernel.name}",
                why="the scratch memory of a run is laid out at build time",
                next="give the dimension a constant bound",
            )
        before = self.e.memory.places.get(buffer.name)
        scope: list[str] = []
        if buffer.memory == Memory.REGISTER and _bytes(buffer) <= LARGEST_STACK_BUFFER:
            scope, body = self._registers(buffer, body)
        else:
            table = self.common if buffer.name in self.shared else self.scratch
            if buffer not in table:
                table[buffer] = self.names.fresh(buffer.name)
            self._declare(buffer, table[buffer])
        self._statement(body)
        self.names.release(scope)
        if before is not None:
            self.e.memory.places[buffer.name] = before

    def _registers(self, buffer: Buffer, body: Stmt) -> tuple[list[str], Stmt]:
        """Declare the variables, or the array on the stack, that a register buffer becomes.

        Gives their names, and what is left of the body: variables that it begins by setting start with that value.
        """
        padded = None
        if buffer.shape:
            lanes, last = self.lanes.get(buffer.name, 1), int(_number(buffer.shape[-1]))
            padded = -(-last // lanes) * lanes  # every vector of the last dimension lies inside its row
        strides = strides_of(buffer.shape, padded)
        place = Place("", buffer.dtype, buffer.shape, strides, buffer.memory)

        def locate(index: tuple[Expr, ...]) -> tuple[int, int] | None:
            where = self.e.memory.split(self.e.memory.flatten(place, index))
            if where is None or where.stride not in (0, 1) or not isinstance(where.base, Const):
                return None
            return int(where.base.value), where.lanes if where.stride else 1

        found = registers_of(buffer, body, locate, padded)
        dtype = memory_dtype(buffer.dtype)
        if found is None:
            name = self.names.fresh(buffer.name)
            size = prod([1, *(int(_number(x)) for x in buffer.shape[:-1])]) * (padded or 1)
            self._line(f"{scalar_type(dtype)} {name}[{size}] __attribute__((aligned(64)));")
            self.e.memory.places[buffer.name] = Place(
                name, buffer.dtype, buffer.shape, strides, buffer.memory
            )
            return [name], body
        renamed = {}
        for register in dict.fromkeys(found.values()):
            name = self.names.fresh(register.name)
            renamed[register] = replace(register, name=name)
        self.e.memory.places[buffer.name] = Place(
            "", buffer.dtype, buffer.shape, strides, buffer.memory, {k: renamed[r] for k, r in found.items()}
        )
        declared: set[str] = set()
        first, rest = _leading(body)
        while isinstance(first, Store) and first.buffer == buffer.name and first.mask is None:
            found_at = locate(first.index)
            assert found_at is not None  # as for all subscripts of the buffer
            register = renamed[found[found_at[0]]]
            whole = found_at[1] == register.lanes and register.name not in declared
            if not whole or loads(first.value, buffer.name):
                break
            text = self.e.memory.store(buffer.name, first.index, self.e.value(first.value), None)
            self._line(f"{self.lib.type(dtype, register.lanes)} {text}")
            declared.add(register.name)
            body = rest
            first, rest = _leading(body)
        for register in renamed.values():
            if register.name not in declared:
                zero = "{0}" if register.lanes > 1 else "0"
                self._line(f"{self.lib.type(dtype, register.lanes)} {register.name} = {zero};")
            if not loads(body, buffer.name):
                self._line(f"(void){register.name};")
        return [r.name for r in renamed.values()], body


def _inline_lanes(s: Stmt) -> Stmt:
    """A vector of subscripts bound by Let, put where it is used: accesses then show how they step from lane to lane."""
    if not isinstance(s, Let) or s.value.lanes == 1 or s.value.dtype != INDEX:
        return s
    reads = any(isinstance(x, Load) for x in walk(s.value))
    return s if reads else substitute_stmt(s.body, {s.var: s.value})


def _leading(s: Stmt) -> tuple[Stmt | None, Stmt]:
    """The first statement of `s` and the others."""
    if not isinstance(s, Block):
        return s, EMPTY
    return (s.stmts[0], block(s.stmts[1:])) if s.stmts else (None, s)


def _number(e: Expr) -> int:
    assert isinstance(e, Const)
    return int(e.value)


def _bytes(buffer: Buffer) -> int:
    return max(1, prod(_number(x) for x in buffer.shape)) * buffer.dtype.bytes
