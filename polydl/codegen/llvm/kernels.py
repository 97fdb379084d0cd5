"""One kernel of the loop IR as one LLVM function."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, assert_never

from polydl.codegen.cpu import LARGEST_STACK_BUFFER, symbol
from polydl.codegen.llvm.builder import FunctionBuilder
from polydl.codegen.llvm.expressions import Expressions
from polydl.codegen.llvm.memory import Place
from polydl.codegen.llvm.offsets import Affine
from polydl.codegen.llvm.values import Value, integer, memory_type
from polydl.codegen.passes.walk import contains, subscript_lanes
from polydl.codegen.tensor import operands_of
from polydl.dtypes import BOOL, I32, I64
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr
from polydl.ir.kernel import (
    Alloc,
    Barrier,
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
from polydl.ir.rewrite import walk_stmts
from polydl.targets import Target

__all__ = ["KernelCode", "emit_kernel"]

# A tensor dimension is never negative and fits the address space; both let subscript arithmetic be simplified.
_LARGEST_SIZE: Final = 2**47


@dataclass(frozen=True, slots=True)
class KernelCode:
    """A function `i32 SYMBOL(buffers…, locals…, sizes…, i64 thread, i64 threads, ptr barrier)` and what it needs.

    `scratch` and `shared` give the bytes of each local buffer, in the order of its pointers among the
    parameters: scratch is private to a thread, shared is common to all. It returns 0 or the code of a failed check.
    """

    symbol: str
    text: str
    scratch: tuple[int, ...]
    shared: tuple[int, ...]


def emit_kernel(
    kernel: Kernel,
    target: Target,
    name: str,
    declarations: set[str],
    shared: frozenset[str],
    aligned: tuple[bool, ...] = (),
) -> KernelCode:
    """The LLVM function of a lowered kernel, called `name`.

    `shared` names the allocations that all threads share; `aligned[k]` says that the k-th parameter is known to be
    64-byte aligned.
    """
    return _KernelEmitter(kernel, target, name, declarations, shared, aligned).emit()


class _KernelEmitter:
    def __init__(
        self,
        kernel: Kernel,
        target: Target,
        name: str,
        declarations: set[str],
        shared: frozenset[str],
        aligned: tuple[bool, ...],
    ) -> None:
        self.kernel, self.target, self.name, self.shared = kernel, target, name, shared
        self.sizes = tuple(size for size in kernel.sizes if size not in ("thread", "threads"))
        self.b = FunctionBuilder(declarations)
        self.e = Expressions(self.b, target, kernel.name)
        self.aligned = aligned or (False,) * len(kernel.params)
        self.has_barrier = contains(kernel.body, Barrier)
        self.has_check = contains(kernel.body, Check)
        self.exit: str | None = None
        self.scratch: dict[Buffer, str] = {}
        self.common: dict[Buffer, str] = {}
        self.register_lanes = subscript_lanes(kernel.body)
        # Across a barrier other threads write, which `noalias` parameters would deny: such kernels say which accesses
        # are distinct by scopes instead.
        allocated = (x.buffer.name for x in walk_stmts(kernel.body) if isinstance(x, Alloc))
        self.buffers = tuple(dict.fromkeys((*(p.buffer.name for p in kernel.params), *allocated)))

    # ---- frame -----------------------------------------------------------------------------------

    def emit(self) -> KernelCode:
        kernel = self.kernel
        for size in self.sizes:
            self.e.names[size] = Value(f"%s.{symbol(size)}", I64, low=0, high=_LARGEST_SIZE)
        self.e.names["thread"] = Value("%thread", I64, low=0, high=2**15)
        self.e.names["threads"] = Value("%threads", I64, low=1, high=2**15)
        for param, aligned in zip(kernel.params, self.aligned, strict=True):
            align = 64 if aligned else param.buffer.dtype.bytes
            self._declare(param.buffer, f"%b.{symbol(param.buffer.name)}", align)
        if self.has_check:
            self.status = self.b.alloca(1, "i32", 4)
            self.b.do(f"store i32 0, ptr {self.status}")
        whole = self.has_check and not self.has_barrier
        if whole:
            self.exit = self.b.fresh("exit")
        self._statement(kernel.body)
        if whole:
            self._reach(self.exit or "")
        if self.has_check:
            code = self.b.fresh("code")
            self.b.do(f"%{code} = load i32, ptr {self.status}")
            self.b.do(f"ret i32 %{code}")
        else:
            self.b.do("ret i32 0")
        return KernelCode(
            self.name,
            self._function(),
            tuple(_bytes(x) for x in self.scratch),
            tuple(_bytes(x) for x in self.common),
        )

    def _function(self) -> str:
        mark = "" if self.has_barrier else " noalias"
        params = []
        for param, aligned in zip(self.kernel.params, self.aligned, strict=True):
            align = 64 if aligned else param.buffer.dtype.bytes
            readonly = (
                " readonly" if param.role in (Role.INPUT, Role.CONSTANT) and not self.has_barrier else ""
            )
            params.append(f"ptr{mark} nocapture{readonly} align {align} %b.{symbol(param.buffer.name)}")
        params += [
            f"ptr{mark} nocapture align 64 {name}" for name in (*self.scratch.values(), *self.common.values())
        ]
        params += [f"i64 %s.{symbol(size)}" for size in self.sizes]
        params += ["i64 %thread", "i64 %threads", "ptr %barrier"]
        head = f"define internal i32 @{self.name}({', '.join(params)}) #0 {{"
        level = self.b.levels[0]
        return "\n".join([head, "entry:", *self.b.allocas, *level.lines, "}"])

    def _declare(self, buffer: Buffer, pointer: str, align: int) -> None:
        extents = tuple(_constant(x) for x in buffer.shape)
        padded = list(extents)
        if buffer.memory == Memory.REGISTER and padded and padded[-1] is not None:
            lanes = self.register_lanes.get(buffer.name, 1)
            padded[-1] = (
                -(-padded[-1] // lanes) * lanes
            )  # every vector of the last dimension lies inside its row
        strides: list[int | Value] = []
        for k in range(len(padded)):
            rest = padded[k + 1 :]
            if all(x is not None for x in rest):
                strides.append(prod(x for x in rest if x is not None))
            else:
                value = integer(1)
                for x, shape in zip(rest, buffer.shape[k + 1 :], strict=True):
                    factor = integer(x) if x is not None else self.e.value(shape)
                    value = factor if value.constant == 1 else self.e.ops.binary("mul", value, factor)
                strides.append(value)
        place = Place(
            buffer.name,
            buffer.dtype,
            pointer,
            align,
            tuple(strides),
            extents,
            buffer.memory,
            self._scope(buffer.name),
        )
        self.e.places[buffer.name] = place

    def _scope(self, name: str) -> str:
        """Metadata saying that an access to the buffer meets no other buffer's."""
        if not self.has_barrier:
            return ""
        domain = f'!{{!"{self.name}"}}'
        own, *others = (f'!{{!"{x}", {domain}}}' for x in (name, *(x for x in self.buffers if x != name)))
        return f", !alias.scope !{{{own}}}" + (f", !noalias !{{{', '.join(others)}}}" if others else "")

    # ---- statements ------------------------------------------------------------------------------

    def _statement(self, s: Stmt) -> None:
        """A statement. In kernels with both checks and barriers a failed check ends the enclosing barrier-free
        part only: the thread must still arrive at the barriers."""
        if self.exit is None and self.has_check and not contains(s, Barrier):
            self.exit = self.b.fresh("skip")
            status = self.b.here(f"load i32, ptr {self.status}", I32)
            healthy = self.b.here(f"icmp eq i32 {status.text}, 0", BOOL)
            branch = self.b.conditional(healthy)
            with branch.then():
                self._plain(s)
                self._reach(self.exit)
            branch.close()
            self.exit = None
            return
        self._plain(s)

    def _reach(self, label: str) -> None:
        """Fall into the block `label`."""
        self.b.do(f"br label %{label}")
        self.b.begin(label)

    def _plain(self, s: Stmt) -> None:
        e = self.e
        match s:
            case Block(stmts=stmts):
                for stmt in stmts:
                    self._statement(stmt)
            case For():
                self._loop(s)
            case If(cond=cond, then=then, otherwise=otherwise):
                e.begin_statement()
                truth = e.value(cond)
                if truth.constant is not None:
                    taken = then if truth.constant else otherwise
                    if taken is not None:
                        self._statement(taken)
                    return
                branch = self.b.conditional(truth)
                with branch.then():
                    self._statement(then)
                if otherwise is not None:
                    with branch.otherwise():
                        self._statement(otherwise)
                branch.close()
            case Let(var=var, value=value, body=body):
                e.begin_statement()
                bound = e.index(value) if value.dtype == I64 else e.value(value)
                self._scoped(var, bound, body)
            case Store(buffer=buffer, index=index, value=value, mask=mask):
                e.begin_statement()
                lanes = None if mask is None else e.value(mask)
                if lanes is not None and lanes.constant is not None:
                    if not lanes.constant:
                        return
                    lanes = None
                place = e.place(buffer)
                stored = e.value(value)
                e.memory.store(
                    place, e.memory.flatten(place, tuple(e.index(i) for i in index)), stored, lanes
                )
            case Alloc(buffer=buffer, body=body):
                before = e.places.get(buffer.name)
                self._allocate(buffer)
                self._statement(body)
                if before is not None:
                    e.places[buffer.name] = before
            case Barrier():
                self.b.do("call void @polydl_barrier(ptr %barrier, i64 %threads)")
            case Check(cond=cond, code=code):
                e.begin_statement()
                self._check(e.value(cond), code)
            case Prefetch(buffer=buffer, index=index, write=write):
                e.begin_statement()
                place = e.place(buffer)
                e.memory.prefetch(place, e.memory.flatten(place, tuple(e.index(i) for i in index)), write)
            case _:
                assert_never(s)

    def _loop(self, s: For) -> None:
        e = self.e
        e.begin_statement()
        if s.instruction and self._instruction(s):
            return
        lower, upper = e.index(s.lower), e.index(s.upper)
        distance = e.offsets.add(upper, lower, -1)
        bounds = e.offsets.range(distance)
        if bounds is not None and bounds[1] <= 0:
            return
        if bounds is not None and bounds[1] <= s.step:  # at most one iteration
            if bounds[0] > 0:
                self._scoped(s.var, lower, s.body)
                return
            branch = self.b.conditional(e.ops.compare("lt", e.offsets.value(lower), e.offsets.value(upper)))
            with branch.then():
                self._scoped(s.var, lower, s.body)
            branch.close()
            return
        first, last = e.offsets.value(lower), e.offsets.value(upper)
        with self.b.loop(first, last, s.step, bounds is not None and bounds[0] > 0) as iterator:
            self._scoped(s.var, iterator, s.body)

    def _instruction(self, s: For) -> bool:
        """The loops as a hardware instruction, if the machine has it."""
        found = operands_of(s, self.target)
        if found is None or not found[0].llvm:
            return False
        chosen, operands = found
        pointers = {"v": f"{self.b.fresh('t')}."}
        for name, load in operands.items():
            place = self.e.place(load.buffer)
            element = self.e.memory.flatten(place, tuple(self.e.index(i) for i in load.index))
            pointers[name] = self.e.memory.address(place, element)[0].text
        for line in chosen.llvm:
            self.b.do(line.format(**pointers))
        for line in chosen.declarations:
            self.b.declare(line)
        return True

    def _scoped(self, var: str, bound: Value | Affine, body: Stmt) -> None:
        before = self.e.names.get(var)
        self.e.names[var] = bound
        self._statement(body)
        if before is None:
            del self.e.names[var]
        else:
            self.e.names[var] = before

    def _allocate(self, buffer: Buffer) -> None:
        extents = [_constant(x) for x in buffer.shape]
        if any(x is None for x in extents):
            raise InvalidProgram(
                f"the local buffer '{buffer.name}' has a symbolic shape",
                where=f"kernel {self.kernel.name}",
                why="the scratch memory of a run is laid out at build time",
                next="give the dimension a constant bound",
            )
        if buffer.memory == Memory.REGISTER and _bytes(buffer) <= LARGEST_STACK_BUFFER:
            lanes = self.register_lanes.get(buffer.name, 1)
            rows = prod(x for x in extents[:-1] if x is not None)
            width = -(-(extents[-1] or 0) // lanes) * lanes if extents else 1
            self._declare(buffer, self.b.alloca(max(1, rows * width), memory_type(buffer.dtype), 64), 64)
            return
        table = self.common if buffer.name in self.shared else self.scratch
        if buffer not in table:
            table[buffer] = f"%l.{symbol(buffer.name)}.{len(self.common) + len(self.scratch)}"
        self._declare(buffer, table[buffer], 64)

    def _check(self, good: Value, code: int) -> None:
        if good.constant is not None and good.constant:
            return
        self.b.branch_out(good, [f"store i32 {code}, ptr {self.status}", f"br label %{self.exit}"])


def _constant(e: Expr) -> int | None:
    return int(e.value) if isinstance(e, Const) else None


def _bytes(buffer: Buffer) -> int:
    return max(1, prod(_constant(x) or 0 for x in buffer.shape)) * buffer.dtype.bytes
