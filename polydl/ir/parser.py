"""Reads the text that `printer` writes: `parse_kernel(print_kernel(k)) == k`, and so for statements and expressions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from polydl.dtypes import BOOL, F32, INDEX, DType, by_name
from polydl.errors import InvalidProgram
from polydl.ir.expr import (
    FUNCTIONS,
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
    Stmt,
    Store,
)
from polydl.ir.lexer import TYPE, Token, tokenize
from polydl.ir.printer import INFIX, ROLES

__all__ = ["parse_expr", "parse_kernel", "parse_stmt"]

_OPERATORS: Final = {sign: (op, level) for op, (sign, level) in INFIX.items()}
_BINDINGS: Final = {b.value: b for b in Binding if b != Binding.SEQUENTIAL}
_ROLES: Final = {text: role for role, text in ROLES.items()}
_MEMORIES: Final = {m.value: m for m in Memory}
_NOT, _COMPARISON, _UNARY = 3, 4, 11


def parse_kernel(text: str) -> Kernel:
    """The kernel of `print_kernel`; InvalidProgram with the line where the text is not one."""
    return _Parser(text, {}).kernel()


def parse_stmt(text: str, buffers: Mapping[str, DType] | None = None) -> Stmt:
    """The statement of `print_stmt` (with the same `buffers`)."""
    parser = _Parser(text, dict(buffers or {}))
    stmt = parser.suite(0)
    parser.finish()
    return stmt


def parse_expr(
    text: str,
    variables: Mapping[str, tuple[DType, int]] | None = None,
    buffers: Mapping[str, DType] | None = None,
) -> Expr:
    """The expression of `print_expr` (with the same `variables` and `buffers`)."""
    parser = _Parser(text, dict(buffers or {}), dict(variables or {}))
    parser.next_line()
    e = parser.expr(0)
    parser.end_of_line()
    parser.finish()
    return e


class _Parser:
    def __init__(
        self, text: str, buffers: dict[str, DType], variables: dict[str, tuple[DType, int]] | None = None
    ) -> None:
        self._source = text.split("\n")
        self._lines = tokenize(text)
        self._row = 0  # of the next line
        self._tokens: tuple[Token, ...] = ()
        self._at = 0
        self._buffers, self._variables = buffers, variables or {}

    # ---- tokens

    def _error(self, what: str) -> InvalidProgram:
        token = self._tokens[min(self._at, len(self._tokens) - 1)] if self._tokens else None
        where = (
            f"line {token.line}: {self._source[token.line - 1].strip()}" if token else "the end of the text"
        )
        return InvalidProgram(what, where=where)

    def next_line(self) -> None:
        if self._row == len(self._lines):
            raise self._error("the text ends too early")
        self._tokens, self._at = self._lines[self._row].tokens, 0
        self._row += 1

    def finish(self) -> None:
        if self._row < len(self._lines):
            self.next_line()
            raise self._error("a line too many, or wrongly indented")

    def end_of_line(self) -> None:
        if self._at < len(self._tokens):
            raise self._error(f"unexpected '{self._tokens[self._at].text}'")

    def _peek(self, offset: int = 0) -> Token:
        at = self._at + offset
        return self._tokens[at] if at < len(self._tokens) else Token("end", "the end of the line", 0)

    def _is(self, *texts: str) -> bool:
        token = self._peek()
        return token.kind in ("sign", "word") and token.text in texts

    def _take(self, *texts: str) -> bool:
        found = self._is(*texts)
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"expected '{text}' before '{self._peek().text}'")

    def _name(self) -> str:
        token = self._peek()
        if token.kind not in ("name", "quoted"):
            raise self._error(f"expected a name before '{token.text}'")
        self._at += 1
        return token.text

    def _int(self) -> int:
        negative = self._take("-")
        token = self._peek()
        if token.kind != "number" or not token.text.isdigit() or token.suffix:
            raise self._error(f"expected an integer before '{token.text}'")
        self._at += 1
        return -int(token.text) if negative else int(token.text)

    # ---- statements

    def kernel(self) -> Kernel:
        self.next_line()
        self._expect("kernel")
        name = self._name()
        self._expect("(")
        params: list[Param] = []
        while not self._take(")"):
            role = self._peek().text
            if role not in _ROLES:
                raise self._error(f"expected one of {', '.join(_ROLES)} before '{role}'")
            self._at += 1
            params.append(Param(self._buffer(), _ROLES[role]))
            if not self._is(")"):
                self._expect(",")
        sizes: list[str] = []
        if self._take("sizes"):
            self._expect("(")
            while not self._take(")"):
                sizes.append(self._name())
                if not self._is(")"):
                    self._expect(",")
        self._expect(":")
        self.end_of_line()
        self._buffers = {p.buffer.name: p.buffer.dtype for p in params}
        body = self._indented(0)
        self.finish()
        return Kernel(name, tuple(sizes), tuple(params), body)

    def _buffer(self) -> Buffer:
        name = self._name()
        self._expect(":")
        memory = Memory.GLOBAL
        if self._peek().text in _MEMORIES:
            memory = _MEMORIES[self._peek().text]
            self._at += 1
        dtype = by_name(self._name())
        self._expect("[")
        shape = self._list("]")
        align = self._int() if self._take("align") else 64
        return Buffer(name, dtype, shape, memory, align)

    def _indented(self, outer: int) -> Stmt:
        """The suite on the following, deeper lines."""
        self.end_of_line()
        if self._row == len(self._lines) or self._lines[self._row].indent <= outer:
            raise self._error("an indented suite must follow")
        return self.suite(self._lines[self._row].indent)

    def suite(self, indent: int) -> Stmt:
        stmts = self._statements(indent)
        return stmts[0] if len(stmts) == 1 else Block(tuple(stmts))

    def _statements(self, indent: int) -> list[Stmt]:
        stmts: list[Stmt] = []
        while self._row < len(self._lines) and self._lines[self._row].indent == indent:
            self.next_line()
            stmts.append(self._statement(indent))
        if not stmts:
            raise self._error("a statement must follow")
        return stmts

    def _statement(self, indent: int) -> Stmt:
        if self._take("pass"):
            self.end_of_line()
            return Block(())
        if self._take("block"):
            self._expect(":")
            self.end_of_line()
            deeper = self._lines[self._row].indent if self._row < len(self._lines) else 0
            if deeper <= indent:
                raise self._error("an indented suite must follow")
            return Block(tuple(self._statements(deeper)))
        if self._take("barrier"):
            self.end_of_line()
            return Barrier()
        if self._is("for", *_BINDINGS):
            return self._for(indent)
        if self._take("if"):
            return self._if(indent)
        if self._take("let"):
            name = self._name()
            self._expect("=")
            value = self.expr(0)
            outer = self._variables
            inner = outer | {name: (value.dtype, value.lanes)}
            body = self._rest(indent, inner, self._buffers)
            return Let(name, value, body)
        if self._take("alloc"):
            buffer = self._buffer()
            body = self._rest(indent, self._variables, self._buffers | {buffer.name: buffer.dtype})
            return Alloc(buffer, body)
        if self._take("check"):
            cond = self.expr(0)
            self._expect("else")
            code = self._int()
            self._expect(",")
            token = self._peek()
            if token.kind != "string":
                raise self._error("expected the message in double quotes")
            self._at += 1
            self.end_of_line()
            return Check(cond, code, json.loads(token.text))
        if self._take("prefetch"):
            write = self._take("write")
            name = self._name()
            self._expect("[")
            index = self._list("]")
            self.end_of_line()
            return Prefetch(name, index, write)
        return self._store()

    def _store(self) -> Stmt:
        name = self._name()
        self._expect("[")
        index = self._list("]")
        self._expect("=")
        value = self.expr(0)
        mask = self.expr(0) if self._take("where") else None
        self.end_of_line()
        return Store(name, index, value, mask)

    def _for(self, indent: int) -> Stmt:
        binding = Binding.SEQUENTIAL
        if not self._is("for"):
            binding = _BINDINGS[self._peek().text]
            self._at += 1
        self._expect("for")
        var = self._name()
        self._expect("in")
        lower = self.expr(0)
        self._expect("..")
        upper = self.expr(0)
        step = self._int() if self._take("step") else 1
        length = self._int() if self._take("length") else None
        owned: list[str] = []
        while self._take("," if owned else "owns"):
            owned.append(self._name())
        spelling = self._name() if self._take("by") else ""
        self._expect(":")
        outer = self._variables
        self._variables = outer | {var: (INDEX, 1)}
        body = self._indented(indent)
        self._variables = outer
        return For(var, lower, upper, body, binding, step, length, tuple(owned), spelling)

    def _if(self, indent: int) -> Stmt:
        cond = self.expr(0)
        self._expect(":")
        then = self._indented(indent)
        otherwise: Stmt | None = None
        if self._row < len(self._lines):
            line = self._lines[self._row]
            if line.indent == indent and line.tokens[0].kind == "word" and line.tokens[0].text == "else":
                self.next_line()
                self._expect("else")
                self._expect(":")
                otherwise = self._indented(indent)
        return If(cond, then, otherwise)

    def _rest(self, indent: int, variables: dict[str, tuple[DType, int]], buffers: dict[str, DType]) -> Stmt:
        """The scope of a let or alloc: the suite after a colon, or the rest of the current suite."""
        outer = self._variables, self._buffers
        nested = self._take(":")
        self.end_of_line()
        self._variables, self._buffers = variables, buffers
        body = self._indented(indent) if nested else self.suite(indent)
        self._variables, self._buffers = outer
        return body

    # ---- expressions

    def _list(self, closing: str) -> tuple[Expr, ...]:
        items: list[Expr] = []
        while not self._take(closing):
            items.append(self.expr(0))
            if not self._is(closing):
                self._expect(",")
        return tuple(items)

    def expr(self, level: int) -> Expr:
        """An expression of operators of precedence `level` or higher."""
        left = self._prefix(level)
        while True:
            token = self._peek()
            if token.kind not in ("sign", "word") or token.text not in _OPERATORS:
                return left
            op, precedence = _OPERATORS[token.text]
            if precedence < level:
                return left
            self._at += 1
            left = Binary(op, left, self.expr(precedence + 1))
            if precedence == _COMPARISON and self._peek().text in ("<", "<=", "==", "!=", ">", ">="):
                raise self._error("comparisons do not chain; write parentheses")

    def _prefix(self, level: int) -> Expr:
        if self._is("not"):
            if level > _NOT:
                raise self._error("'not' needs parentheses here")
            self._at += 1
            return Unary("not", self.expr(_NOT))
        if self._take("~"):
            return Unary("invert", self._prefix(_UNARY))
        if self._take("-"):
            token = self._peek()
            if token.kind == "number" or (token.kind == "word" and token.text == "inf"):
                return self._literal(negative=True)
            return Unary("neg", self._prefix(_UNARY))
        return self._atom()

    def _literal(self, negative: bool = False) -> Expr:
        token = self._peek()
        self._at += 1
        sign = -1 if negative else 1
        if token.kind == "word":
            return Const(sign * float(token.text), self._type((F32, 1))[0])
        whole = token.text.isdigit()
        dtype = by_name(token.suffix) if token.suffix else INDEX if whole else F32
        return Const(sign * (int(token.text) if whole else float(token.text)), dtype)

    def _type(self, expected: tuple[DType, int]) -> tuple[DType, int]:
        """The type annotation that may follow."""
        if not (self._is(":") and self._peek(1).kind == "name"):
            return expected
        match = TYPE.fullmatch(self._peek(1).text)
        if match is None:
            raise self._error(f"'{self._peek(1).text}' is not a type")
        self._at += 2
        return by_name(match[1]), int(match[2] or 1)

    def _atom(self) -> Expr:
        token = self._peek()
        if token.kind == "number" or (token.kind == "word" and token.text in ("nan", "inf")):
            return self._literal()
        if self._take("true"):
            return Const(True, BOOL)
        if self._take("false"):
            return Const(False, BOOL)
        if self._take("("):
            e = self.expr(0)
            self._expect(")")
            return e
        name = self._name()
        if self._take("["):
            return self._load(name)
        if token.kind == "name" and self._take("("):
            return self._call(name)
        return Var(name, *self._type(self._variables.get(name, (INDEX, 1))))

    def _load(self, buffer: str) -> Expr:
        index: list[Expr] = []
        mask: Expr | None = None
        while not self._take("]"):
            if self._take("where"):
                mask = self.expr(0)
                self._expect("]")
                break
            index.append(self.expr(0))
            if not self._is("]", "where"):
                self._expect(",")
        return Load(buffer, tuple(index), self._type((self._buffers.get(buffer, F32), 1))[0], mask)

    def _call(self, name: str) -> Expr:
        if name in ("ramp", "broadcast"):
            base = self.expr(0)
            self._expect(",")
            first = self._int()
            if name == "broadcast":
                self._expect(")")
                return Broadcast(base, first)
            self._expect(",")
            lanes = self._int()
            self._expect(")")
            return Ramp(base, first, lanes)
        operands = self._list(")")
        match name, operands:
            case (("min" | "max"), (a, b)):
                return Binary(name, a, b)
            case "select", (c, a, b):
                return Select(c, a, b)
            case "abs", (x,):
                return Unary("abs", x)
            case _, (x,) if TYPE.fullmatch(name):
                return Cast(by_name(name), x)
            case _, (x,) if name.startswith("reduce_"):
                return ReduceLanes(name.removeprefix("reduce_"), x)
            case _ if name in FUNCTIONS:
                return Call(name, operands)
        raise self._error(f"no function '{name}' of {len(operands)} operands")
