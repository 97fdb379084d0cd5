"""Loop IR and expressions as text for people; `parser` reads it back exactly.

    kernel scale(in X: f32[N, 16], out Y: f32[N, 16]) sizes(N):
      parallel for i in 0..N:
        vector for v in 0..16 length 16:
          Y[i, v] = X[i, v] * 2.0

A suite of several lines is one `Block`; `block:` and `pass` write the blocks that this leaves out. `let` and `alloc`
reach to the end of their suite, or over an indented suite after a colon. A name, load or literal carries its type
where it is not the expected one: `i64` for variables, integers and sizes, `f32` for floating literals and for buffers
that are not declared in the text, else the declared type (`x:f64`, `x:f32x16`, `3u8`, `0.5f64`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Final, assert_never

from polydl.dtypes import BOOL, F32, INDEX, DType
from polydl.ir.expr import (
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
    Param,
    Prefetch,
    Role,
    Stmt,
    Store,
)

__all__ = ["INFIX", "NAME", "RESERVED", "ROLES", "print_expr", "print_kernel", "print_stmt"]

INFIX: Final = {  # operator -> (sign, precedence); comparisons do not chain
    "or": ("or", 1), "and": ("and", 2), "lt": ("<", 4), "le": ("<=", 4), "eq": ("==", 4), "ne": ("!=", 4),
    "gt": (">", 4), "ge": (">=", 4), "bitor": ("|", 5), "bitxor": ("^", 6), "bitand": ("&", 7), "shl": ("<<", 8),
    "shr": (">>", 8), "add": ("+", 9), "sub": ("-", 9), "mul": ("*", 10), "div": ("/", 10), "floordiv": ("//", 10),
    "mod": ("%", 10),
}  # fmt: skip
_NOT, _COMPARISON, _UNARY, _ATOM = 3, 4, 11, 12
NAME: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)
RESERVED: Final = frozenset({
    "kernel", "sizes", "in", "const", "out", "inout", "workspace", "parallel", "vector", "unroll", "for", "step",
    "length", "owns", "by", "if", "else", "let", "alloc", "align", "barrier", "check", "prefetch", "write", "block",
    "pass", "where", "and", "or", "not", "true", "false", "nan", "inf", "global", "local", "register", "shared",
})  # fmt: skip
ROLES: Final = {
    Role.INPUT: "in",
    Role.OUTPUT: "out",
    Role.INOUT: "inout",
    Role.CONSTANT: "const",
    Role.WORKSPACE: "workspace",
}
_WIDTH: Final = 110

Mark = Callable[[Kernel | Stmt], str | None]
Types = Mapping[str, tuple[DType, int]]


def print_expr(e: Expr, variables: Types | None = None, buffers: Mapping[str, DType] | None = None) -> str:
    """`e` as text. `variables` gives types and lanes, `buffers` element types, that names are expected to have."""
    return _Printer(dict(variables or {}), dict(buffers or {})).expr(e, 0)


def print_stmt(s: Stmt, mark: Mark | None = None, buffers: Mapping[str, DType] | None = None) -> str:
    """`s` as lines of text. Where `mark(statement)` is a text, it is put behind the statement's line."""
    return "\n".join(_Printer({}, dict(buffers or {}), mark).suite(s, ""))


def print_kernel(k: Kernel, mark: Mark | None = None) -> str:
    """`k` as lines of text. Where `mark(k or a statement)` is a text, it is put behind that line as a comment."""
    return "\n".join(_Printer({}, {}, mark).kernel(k))


def name_text(name: str) -> str:
    """A name as it stands in the text: in backticks where it is not an identifier with dots."""
    if NAME.fullmatch(name) and name not in RESERVED:
        return name
    return "`" + json.dumps(name)[1:-1].replace("`", "\\u0060") + "`"


class _Printer:
    def __init__(
        self, variables: dict[str, tuple[DType, int]], buffers: dict[str, DType], mark: Mark | None = None
    ):
        self._variables, self._buffers, self._mark = variables, buffers, mark

    # ---- statements

    def kernel(self, k: Kernel) -> Iterator[str]:
        params = [self._param(p) for p in k.params]
        sizes = f" sizes({', '.join(map(name_text, k.sizes))})" if k.sizes else ""
        head = f"kernel {name_text(k.name)}({', '.join(params)}){sizes}:"
        if len(head) > _WIDTH:
            head = f"kernel {name_text(k.name)}(\n    " + ",\n    ".join(params) + f"\n){sizes}:"
        yield head + self._comment(k)
        for p in k.params:
            self._buffers[p.buffer.name] = p.buffer.dtype
        yield from self.suite(k.body, "  ")

    def _param(self, p: Param) -> str:
        return f"{ROLES[p.role]} {self._buffer(p.buffer)}"

    def _buffer(self, b: Buffer) -> str:
        memory = "" if b.memory == Memory.GLOBAL else f"{b.memory.value} "
        align = "" if b.align == 64 else f" align {b.align}"
        return f"{name_text(b.name)}: {memory}{b.dtype.name}[{self._list(b.shape)}]{align}"

    def suite(self, s: Stmt, indent: str) -> Iterator[str]:
        if isinstance(s, Block) and len(s.stmts) >= 2:
            for inner in s.stmts[:-1]:
                yield from self._element(inner, indent, last=False)
            s = s.stmts[-1]
        yield from self._element(s, indent, last=True)

    def _element(self, s: Stmt, indent: str, last: bool) -> Iterator[str]:
        deeper = indent + "  "
        comment = self._comment(s)
        match s:
            case Store(buffer, index, value, mask):
                where = "" if mask is None else f" where {self.expr(mask, 0)}"
                target = f"{name_text(buffer)}[{self._list(index)}]"
                yield f"{indent}{target} = {self.expr(value, 0)}{where}{comment}"
            case Block(stmts):
                yield f"{indent}{'block:' if stmts else 'pass'}{comment}"
                for i, inner in enumerate(stmts):
                    yield from self._element(inner, deeper, last=i == len(stmts) - 1)
            case For(var, lower, upper, body, binding, step, length, owned, instruction):
                kind = "" if binding == Binding.SEQUENTIAL else f"{binding.value} "
                stride = "" if step == 1 else f" step {step}"
                lanes = "" if length is None else f" length {length}"
                owns = f" owns {', '.join(map(name_text, owned))}" if owned else ""
                owns += f" by {name_text(instruction)}" if instruction else ""
                bounds = f"{self.expr(lower, 0)}..{self.expr(upper, 0)}"
                yield f"{indent}{kind}for {name_text(var)} in {bounds}{stride}{lanes}{owns}:{comment}"
                yield from self._scoped(var, (INDEX, 1), body, deeper)
            case If(cond, then, otherwise):
                yield f"{indent}if {self.expr(cond, 0)}:{comment}"
                yield from self.suite(then, deeper)
                if otherwise is not None:
                    yield f"{indent}else:"
                    yield from self.suite(otherwise, deeper)
            case Let(var, value, body):
                yield f"{indent}let {name_text(var)} = {self.expr(value, 0)}{'' if last else ':'}{comment}"
                yield from self._scoped(var, (value.dtype, value.lanes), body, indent if last else deeper)
            case Alloc(buffer, body):
                yield f"{indent}alloc {self._buffer(buffer)}{'' if last else ':'}{comment}"
                outer = self._buffers
                self._buffers = outer | {buffer.name: buffer.dtype}
                yield from self.suite(body, indent if last else deeper)
                self._buffers = outer
            case Barrier():
                yield f"{indent}barrier{comment}"
            case Check(cond, code, message):
                yield f"{indent}check {self.expr(cond, 0)} else {code}, {json.dumps(message)}{comment}"
            case Prefetch(buffer, index, write):
                kind = "prefetch write" if write else "prefetch"
                yield f"{indent}{kind} {name_text(buffer)}[{self._list(index)}]{comment}"
            case _:
                assert_never(s)

    def _scoped(self, var: str, kind: tuple[DType, int], body: Stmt, indent: str) -> Iterator[str]:
        outer = self._variables
        self._variables = outer | {var: kind}
        yield from self.suite(body, indent)
        self._variables = outer

    def _comment(self, s: Kernel | Stmt) -> str:
        text = self._mark(s) if self._mark is not None else None
        return "" if text is None else f"  # <== {' '.join(text.split())}"

    # ---- expressions

    def _list(self, es: tuple[Expr, ...]) -> str:
        return ", ".join([self.expr(e, 0) for e in es])

    def expr(self, e: Expr, context: int) -> str:
        """`e` in a place where operators below the precedence `context` need parentheses."""
        match e:
            case Const():
                return _literal_text(e)
            case Var(name, dtype, lanes):
                expected = self._variables.get(name, (INDEX, 1))
                return name_text(name) + ("" if expected == (dtype, lanes) else _type_text(dtype, lanes))
            case Load(buffer, index, dtype, mask):
                where = "" if mask is None else f"{' ' if index else ''}where {self.expr(mask, 0)}"
                kind = "" if self._buffers.get(buffer, F32) == dtype else _type_text(dtype, 1)
                return f"{name_text(buffer)}[{self._list(index)}{where}]{kind}"
            case Binary(op, a, b) if op not in INFIX:
                return f"{op}({self._list((a, b))})"
            case Binary(op, a, b):
                sign, level = INFIX[op]
                left = self.expr(a, level + (level == _COMPARISON))
                text = f"{left} {sign} {self.expr(b, level + 1)}"
                return f"({text})" if level < context else text
            case Unary("abs", x):
                return f"abs({self.expr(x, 0)})"
            case Unary("not", x):
                text = f"not {self.expr(x, _NOT)}"
                return f"({text})" if context > _NOT else text
            case Unary(op, x):
                inner = f"({self.expr(x, 0)})" if isinstance(x, Const) else self.expr(x, _UNARY)
                text = ("-" if op == "neg" else "~") + inner
                return f"({text})" if context > _UNARY else text
            case Call(function, operands):
                return f"{function}({self._list(operands)})"
            case Select(c, a, b):
                return f"select({self._list((c, a, b))})"
            case Cast(dtype, x):
                return f"{dtype.name}({self.expr(x, 0)})"
            case Ramp(base, stride, lanes):
                return f"ramp({self.expr(base, 0)}, {stride}, {lanes})"
            case Broadcast(x, lanes):
                return f"broadcast({self.expr(x, 0)}, {lanes})"
            case ReduceLanes(op, x):
                return f"reduce_{op}({self.expr(x, 0)})"
            case _:
                assert_never(e)


def _type_text(dtype: DType, lanes: int) -> str:
    return f":{dtype.name}" if lanes == 1 else f":{dtype.name}x{lanes}"


def _literal_text(c: Const) -> str:
    if c.dtype == BOOL:
        return "true" if c.value else "false"
    if isinstance(c.value, float) and not isfinite(c.value):
        return f"{c.value}" + ("" if c.dtype == F32 else _type_text(c.dtype, 1))
    value = float(c.value) if c.dtype.is_float else c.value
    expected = F32 if isinstance(value, float) else INDEX
    return f"{value!r}" + ("" if c.dtype == expected else c.dtype.name)
