"""Scalar expressions and the typed loop IR: build, print, parse, verify, rewrite, simplify, interpret."""

from __future__ import annotations

from polydl.ir.expr import (
    Binary,
    Broadcast,
    Call,
    Cast,
    Const,
    Expr,
    ExprLike,
    Load,
    Ramp,
    ReduceLanes,
    Select,
    Unary,
    Var,
    and_,
    as_expr,
    call,
    cast,
    eq,
    maximum,
    minimum,
    ne,
    not_,
    or_,
    select,
    substitute,
    transform,
    walk,
)
from polydl.ir.interpret import evaluate, evaluate_array, interpret
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
from polydl.ir.parser import parse_expr, parse_kernel, parse_stmt
from polydl.ir.printer import print_expr, print_kernel, print_stmt
from polydl.ir.rewrite import (
    block,
    free_variables,
    fresh_name,
    loads,
    loops,
    map_expressions,
    map_stmts,
    rename_buffers,
    rename_variables,
    stores,
    substitute_stmt,
    walk_stmts,
)
from polydl.ir.simplify import Affine, Range, bounds, linear, simplify, simplify_kernel, simplify_stmt
from polydl.ir.verify import verify

__all__ = [
    # expressions
    "Binary", "Broadcast", "Call", "Cast", "Const", "Expr", "ExprLike", "Load", "Ramp", "ReduceLanes", "Select",
    "Unary", "Var", "and_", "as_expr", "call", "cast", "eq", "maximum", "minimum", "ne", "not_", "or_", "select",
    "substitute", "transform", "walk",
    # loop IR
    "Alloc", "Barrier", "Binding", "Block", "Buffer", "Check", "For", "If", "Kernel", "Let", "Memory", "Param",
    "Prefetch", "Role", "Stmt", "Store",
    # text
    "parse_expr", "parse_kernel", "parse_stmt", "print_expr", "print_kernel", "print_stmt",
    # rewriting
    "block", "free_variables", "fresh_name", "loads", "loops", "map_expressions", "map_stmts", "rename_buffers",
    "rename_variables", "stores", "substitute_stmt", "walk_stmts",
    # simplification
    "Affine", "Range", "bounds", "linear", "simplify", "simplify_kernel", "simplify_stmt",
    # checking and meaning
    "evaluate", "evaluate_array", "interpret", "verify",
]  # fmt: skip
