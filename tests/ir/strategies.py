"""Hypothesis strategies for expressions, statements and kernels.

`expressions` are well-typed scalar expressions; `any_expression` and `any_kernel` are all that the syntax allows,
well-typed or not, for round trips through text.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polydl.dtypes import BOOL, F16, F32, F64, I8, I32, I64, INDEX, U8, U64, DType
from polydl.ir.expr import (
    BINARY_OPS,
    COMPARISONS,
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

DTYPES = [F16, F32, F64, I8, I32, I64, U8, U64, BOOL]
INTEGERS = [I8, I32, I64, U8, U64]
INDEX_VARIABLES = ("a", "b", "k.o", "k.i", "n")

dtypes = st.sampled_from(DTYPES)
names = st.sampled_from(["i", "j.o", "k_1", "N", "if", "weird name", "conv/w:0", "x`y", "0"])


def integer_values(dtype: DType) -> SearchStrategy[int]:
    """Small numbers, powers of two and their neighbours, and the ends of the type's range."""
    low = 0 if dtype.kind == "u" else -(1 << (dtype.bits - 1))
    high = (1 << dtype.bits) - 1 + low
    edges = [low, low + 1, high - 1, high]
    return st.one_of(st.integers(max(low, -20), 20), st.sampled_from(edges), st.integers(low, high))


def constants(dtype: DType) -> SearchStrategy[Expr]:
    """Literals of a type; floats are representable and include nan, infinities and negative zero."""
    if dtype == BOOL:
        return st.booleans().map(lambda v: Const(v, BOOL))
    if dtype.is_float:
        special = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0])
        values = st.one_of(special, st.floats(width=dtype.bits))  # type: ignore[arg-type]
        return values.map(lambda v: Const(float(v), dtype))
    return integer_values(dtype).map(lambda v: Const(v, dtype))


@st.composite
def index_expressions(draw: st.DrawFn, depth: int = 4) -> Expr:
    """Quasi-affine expressions over INDEX_VARIABLES with small coefficients: subscripts as compilers write them."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(
            st.one_of(
                st.sampled_from(INDEX_VARIABLES).map(Var), st.integers(-20, 40).map(lambda v: Const(v, INDEX))
            )
        )
    a = draw(index_expressions(depth=depth - 1))
    kind = draw(
        st.sampled_from(["add", "sub", "mul", "floordiv", "mod", "divmod", "min", "max", "select", "neg"])
    )
    constant = Const(draw(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12, 16, 16, -1, -2])), INDEX)
    match kind:
        case "mul" | "floordiv" | "mod":
            return Binary(kind, a, constant)
        case "divmod":
            return Binary(
                "add", Binary("mul", Binary("floordiv", a, constant), constant), Binary("mod", a, constant)
            )
        case "neg":
            return Unary("neg", a)
    b = draw(index_expressions(depth=depth - 1))
    if kind == "select":
        op = draw(st.sampled_from(sorted(COMPARISONS)))
        return Select(Binary(op, a, constant), a, b)
    return Binary(kind, a, b)


@st.composite
def expressions(draw: st.DrawFn, dtype: DType, depth: int = 3) -> Expr:
    """Well-typed scalar expressions of `dtype` with variables `v_TYPE` and loads of vectors `B_TYPE`."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        leaves = [constants(dtype), st.just(Var(f"v_{dtype.name}", dtype))]
        if dtype != BOOL:
            leaves.append(st.integers(0, 3).map(lambda i: Load(f"B_{dtype.name}", (Const(i, INDEX),), dtype)))
        return draw(st.one_of(leaves))

    def inner(t: DType) -> Expr:
        return draw(expressions(t, depth=depth - 1))

    kinds = ["select", "cast"]
    if dtype == BOOL:
        kinds += ["compare", "logic", "not"]
    else:
        kinds += ["arithmetic", "arithmetic", "arithmetic", "unary"]
    kinds += ["call"] if dtype.is_float else []
    match draw(st.sampled_from(kinds)):
        case "select":
            return Select(inner(BOOL), inner(dtype), inner(dtype))
        case "cast":
            source = draw(dtypes)
            return Cast(dtype, inner(source))
        case "compare":
            operands = draw(st.sampled_from([t for t in DTYPES if t != BOOL]))
            return Binary(draw(st.sampled_from(sorted(COMPARISONS))), inner(operands), inner(operands))
        case "logic":
            return Binary(draw(st.sampled_from(["and", "or"])), inner(BOOL), inner(BOOL))
        case "not":
            return Unary("not", inner(BOOL))
        case "unary":
            return Unary(
                draw(st.sampled_from(["neg", "abs", *(["invert"] if dtype.is_integer else [])])), inner(dtype)
            )
        case "call":
            function = draw(st.sampled_from(["floor", "ceil", "trunc", "sqrt", "exp", "fma", "fmod", "pow"]))
            return Call(function, tuple(inner(dtype) for _ in range(FUNCTIONS[function])))
        case _:
            integer = (
                ["floordiv", "mod", "bitand", "bitor", "bitxor", "shl", "shr"] if dtype.is_integer else []
            )
            op = draw(st.sampled_from(["add", "sub", "mul", "div", "min", "max", *integer]))
            return Binary(op, inner(dtype), inner(dtype))


# ---- all that the syntax allows

_leaves: SearchStrategy[Expr] = st.one_of(
    dtypes.flatmap(constants),
    st.builds(Var, names),
    st.builds(Var, names, dtypes, st.sampled_from([1, 4, 16])),
)


def _compound(inner: SearchStrategy[Expr]) -> SearchStrategy[Expr]:
    subscripts = st.lists(inner, max_size=3).map(tuple)
    calls = st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda f: st.tuples(*[inner] * FUNCTIONS[f]).map(lambda operands: Call(f, operands))
    )
    return st.one_of(
        st.builds(Binary, st.sampled_from(sorted(BINARY_OPS)), inner, inner),
        st.builds(Unary, st.sampled_from(sorted(UNARY_OPS)), inner),
        st.builds(Load, names, subscripts, dtypes, st.none() | inner),
        st.builds(Select, inner, inner, inner),
        st.builds(Cast, dtypes, inner),
        st.builds(Ramp, inner, st.integers(-3, 3), st.sampled_from([2, 16])),
        st.builds(Broadcast, inner, st.sampled_from([2, 16])),
        st.builds(ReduceLanes, st.sampled_from(["add", "mul", "min", "max", "and", "or"]), inner),
        calls,
    )


any_expression: SearchStrategy[Expr] = st.recursive(_leaves, _compound, max_leaves=12)
_short = st.recursive(_leaves, _compound, max_leaves=3)
_index = st.lists(_short, max_size=2).map(tuple)
buffers = st.builds(
    Buffer,
    names,
    dtypes,
    st.lists(st.integers(1, 64).map(lambda n: Const(n, INDEX)) | st.just(Var("N")), max_size=3).map(tuple),
    st.sampled_from(Memory),
    st.sampled_from([4, 64]),
)
_simple: SearchStrategy[Stmt] = st.one_of(
    st.builds(Store, names, _index, _short, st.none() | _short),
    st.just(Barrier()),
    st.builds(Check, _short, st.integers(1, 99), st.text(max_size=8)),
    st.builds(Prefetch, names, _index, st.booleans()),
)


def _nested(inner: SearchStrategy[Stmt]) -> SearchStrategy[Stmt]:
    return st.one_of(
        st.builds(
            For,
            names,
            _short,
            _short,
            inner,
            st.sampled_from(Binding),
            st.integers(1, 4),
            st.none() | st.sampled_from([8, 16]),
            st.lists(names, max_size=2).map(tuple),
        ),
        st.builds(If, _short, inner, st.none() | inner),
        st.builds(Let, names, _short, inner),
        st.builds(Alloc, buffers, inner),
        st.lists(inner, max_size=3).map(lambda stmts: Block(tuple(stmts))),
    )


any_statement: SearchStrategy[Stmt] = st.recursive(_simple, _nested, max_leaves=6)
any_kernel: SearchStrategy[Kernel] = st.builds(
    Kernel,
    names,
    st.lists(names, max_size=2).map(tuple),
    st.lists(st.builds(Param, buffers, st.sampled_from(Role)), max_size=4).map(tuple),
    any_statement,
)
