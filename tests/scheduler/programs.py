"""Small functions of every shape, with whole-numbered data: any order of a reduction gives the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from polydl.dsl import Function, FunctionBuilder, Tensor, max_over, min_over, reduce_over, sum_over
from polydl.dtypes import F32, I8, I32, INDEX, U8, DType
from polydl.ir import Expr, and_, cast, maximum, select
from polydl.scheduler import Schedule

Array = np.ndarray[Any, Any]

__all__ = [
    "Case",
    "blur",
    "byte_matmul",
    "cases",
    "chain",
    "convolution",
    "gather",
    "heat",
    "in_place",
    "matmul",
    "named",
    "normalised",
    "projected",
    "triangular",
    "window",
]


@dataclass(frozen=True)
class Case:
    """A function and values for its sizes."""

    function: Function
    sizes: dict[str, int] = field(default_factory=dict)

    def arrays(self, seed: int = 0) -> dict[str, Array]:
        """Inputs and constants by name: small whole numbers; tensors called `index…` hold subscripts."""
        generator = np.random.default_rng(seed)
        result = {}
        for t in self.function.of_role(*_GIVEN):
            shape = tuple(_number(e, self.sizes) for e in t.shape)
            low, high = (0, 3) if t.name.startswith("index") else (-4, 5)
            result[t.name] = generator.integers(low, high, shape).astype(t.dtype.numpy)
        return result

    def schedule(self) -> Schedule:
        return Schedule.of(self.function)


from polydl.dsl import TensorRole  # noqa: E402

_GIVEN = (TensorRole.INPUT, TensorRole.CONSTANT)


def _number(e: Expr, sizes: dict[str, int]) -> int:
    from polydl.ir import evaluate_array

    def no_load(*_: object) -> Any:
        raise AssertionError("a shape reads nothing")

    return int(evaluate_array(e, {n: np.int64(v) for n, v in sizes.items()}, no_load))


def matmul(
    m: int = 8, n: int = 12, k: int = 10, *, symbolic: bool = False, dtype: DType = F32, bias: bool = False
) -> Case:
    """C = A B, perhaps with a rectified bias after it."""
    f = FunctionBuilder("matmul")
    sizes = {"M": m, "N": n, "K": k} if symbolic else {}
    extents: Sequence[Any] = f.sizes("M N K") if symbolic else (m, n, k)
    M, N, K = extents
    a, b = f.input("A", (M, K), dtype), f.input("B", (K, N), dtype)
    c = f.compute("C", {"i": M, "j": N}, lambda i, j: sum_over({"k": K}, lambda k: a[i, k] * b[k, j]))
    if bias:
        v = f.input("V", (N,), dtype)
        c = f.compute("D", {"i": M, "j": N}, lambda i, j: maximum(c[i, j] + v[j], 0))
    return Case(f.build([c]), sizes)


def byte_matmul(m: int = 3, n: int = 32, k: int = 8) -> Case:
    """Unsigned times signed bytes, summed up in 32 bits."""
    f = FunctionBuilder("byte_matmul")
    a, b = f.input("A", (m, k), U8), f.input("B", (k, n), I8)
    c = f.compute(
        "C",
        {"i": m, "j": n},
        lambda i, j: sum_over({"k": k}, lambda k: cast(I32, a[i, k]) * cast(I32, b[k, j])),
    )
    return Case(f.build([c]))


def convolution(
    n: int = 1,
    c: int = 3,
    k: int = 5,
    h: int = 5,
    w: int = 6,
    r: int = 3,
    stride: int = 1,
    dtype: DType = F32,
) -> Case:
    """A convolution over an input padded by its lower bounds."""
    f = FunctionBuilder("convolution")
    pad = r // 2
    x = f.input("x", (n, c, h + 2 * pad, w + 2 * pad), dtype, lower=(0, 0, -pad, -pad))
    weights = f.input("weights", (k, c, r, r), dtype, constant=True)
    y = f.compute(
        "y",
        {"n": n, "k": k, "h": -(-h // stride), "w": -(-w // stride)},
        lambda n, k, h, w: sum_over(
            {"c": c, "r": r, "s": r},
            lambda c, r, s: x[n, c, h * stride + r - pad, w * stride + s - pad] * weights[k, c, r, s],
        ),
    )
    bias = f.input("bias", (k,), dtype, constant=True)
    z = f.compute(
        "z",
        {"n": n, "k": k, "h": -(-h // stride), "w": -(-w // stride)},
        lambda n, k, h, w: maximum(y[n, k, h, w] + bias[k], 0),
    )
    return Case(f.build([z]))


def heat(steps: int = 4, n: int = 9, dtype: DType = I32) -> Case:
    """A three-point stencil repeated over time, every time step kept."""
    f = FunctionBuilder("heat")
    x = f.input("x", (n,), dtype)
    u = f.temporary("u", (steps + 1, n), dtype)
    f.compute("start", {"t": steps + 1, "i": n}, lambda t, i: x[i], into=u)
    f.compute(
        "step",
        {"t": (1, steps + 1), "i": (1, n - 1)},
        lambda t, i: u[t - 1, i - 1] + u[t - 1, i] - u[t - 1, i + 1],
        into=u,
    )
    return Case(f.build([u]))


def in_place(n: int = 6, m: int = 7, dtype: DType = I32) -> Case:
    """Gauss-Seidel: a point depends on its new upper and left neighbours and on its old right one."""
    f = FunctionBuilder("in_place")
    x = f.input("x", (n, m), dtype)
    a = f.temporary("a", (n, m), dtype)
    f.compute("load", {"i": n, "j": m}, lambda i, j: x[i, j], into=a)
    f.compute(
        "seidel",
        {"i": (1, n), "j": (1, m - 1)},
        lambda i, j: a[i - 1, j] + a[i, j - 1] - a[i, j + 1],
        into=a,
    )
    return Case(f.build([a]))


def triangular(n: int = 7, *, symbolic: bool = False, dtype: DType = F32) -> Case:
    """Prefix sums of rows, and a triangular product of them; zeros above the diagonal."""
    f = FunctionBuilder("triangular")
    sizes = {"N": n} if symbolic else {}
    (N,) = f.sizes("N") if symbolic else (n,)
    x = f.input("x", (N, N), dtype)
    y = f.temporary("y", (N, N), dtype)
    f.compute("zero", {"i": N, "j": N}, lambda i, j: select(x[i, j] > 0, x[i, j] * 0, 0), into=y)
    f.compute(
        "lower",
        {"i": N, "j": N},
        lambda i, j: reduce_over(
            "add", {"k": N}, lambda k: x[i, k] * x[j, k], where=lambda k: and_(k <= i, k >= j)
        ),
        into=y,
        where=lambda i, j: j <= i,
    )
    return Case(f.build([y]), sizes)


def normalised(n: int = 5, m: int = 11, dtype: DType = F32) -> Case:
    """Row maxima, what is left without them, and its row sums: three nests over the same rows."""
    f = FunctionBuilder("normalised")
    x = f.input("x", (n, m), dtype)
    top = f.compute("top", {"i": n}, lambda i: max_over({"j": m}, lambda j: x[i, j]))
    rest = f.compute("rest", {"i": n, "j": m}, lambda i, j: x[i, j] - top[i])
    total = f.compute("total", {"i": n}, lambda i: sum_over({"j": m}, lambda j: rest[i, j]))
    y = f.compute("y", {"i": n, "j": m}, lambda i, j: rest[i, j] + total[i])
    return Case(f.build([y]))


def gather(n: int = 6, m: int = 5, dtype: DType = F32) -> Case:
    """Rows picked by a run-time index, then column sums."""
    f = FunctionBuilder("gather")
    table, index = f.input("table", (3, m), dtype), f.input("index", (n,), INDEX)
    rows = f.compute("rows", {"i": n, "j": m}, lambda i, j: table[index[i], j])
    y = f.compute("y", {"j": m}, lambda j: sum_over({"i": n}, lambda i: rows[i, j]))
    return Case(f.build([rows, y]))


def chain(n: int = 9, m: int = 5, dtype: DType = F32, *, symbolic: bool = False) -> Case:
    """A producer, a shifted consumer, a transposed one and a reduction to a scalar."""
    f = FunctionBuilder("chain")
    sizes = {"N": n} if symbolic else {}
    (N,) = f.sizes("N") if symbolic else (n,)
    x = f.input("x", (N + 2, m), dtype, lower=(-1, 0))
    a = f.compute(
        "a", {"i": (-1, N + 1) if not symbolic else N, "j": m}, lambda i, j: x[i, j] + j_of(j, dtype)
    )
    low = -1 if not symbolic else 0
    b = f.temporary("b", (N, m), dtype)
    f.compute("b0", {"i": N, "j": m}, lambda i, j: a[i, j] * 2, into=b)
    f.compute("b1", {"i": (1 + low, N - 1), "j": m}, lambda i, j: a[i + low, j] - a[i + 1, j], into=b)
    c = f.compute("c", {"j": m, "i": N}, lambda j, i: b[i, j] + b[i, m - 1 - j])
    s = f.compute("s", {}, lambda: min_over({"p": m, "q": N}, lambda p, q: c[p, q]))
    return Case(f.build([c, s]), sizes)


def blur(n: int = 14, dtype: DType = F32) -> Case:
    """A producer, and a consumer that reads it left and right."""
    f = FunctionBuilder("blur")
    x = f.input("x", (n,), dtype)
    a = f.compute("a", {"i": n}, lambda i: x[i] * 2)
    b = f.compute("b", {"i": (1, n - 1)}, lambda i: a[i - 1] + a[i + 1])
    return Case(f.build([b]))


def interleaved(n: int = 8, dtype: DType = F32) -> Case:
    """Even elements are read, odd ones overwritten."""
    f = FunctionBuilder("interleaved")
    x = f.input("x", (2 * n + 4,), dtype)
    a = f.compute("a", {"i": 2 * n + 4}, lambda i: x[i])
    b = f.compute("b", {"i": n}, lambda i: a[i * 2] + a[i * 2 + 2])
    f.compute("odd", {"i": n}, lambda i: x[i] * 3, into=a, at=lambda i: [i * 2 + 3])
    c = f.compute("c", {"i": n}, lambda i: a[i] + b[i])
    return Case(f.build([c]))


def window(n: int = 6, m: int = 5, dtype: DType = F32) -> Case:
    """Rows, and sums of three neighbouring rows."""
    f = FunctionBuilder("window")
    x = f.input("x", (n, m), dtype)
    a = f.compute("a", {"i": n, "j": m}, lambda i, j: x[i, j] * 2)
    b = f.compute("b", {"i": (1, n - 1), "j": m}, lambda i, j: a[i - 1, j] + a[i, j] - a[i + 1, j])
    return Case(f.build([b]))


def projected(n: int = 5, m: int = 4, dtype: DType = F32) -> Case:
    """A reduction whose remaining axes are more than the target's: sums of sums, by a second store at one place."""
    f = FunctionBuilder("projected")
    x = f.input("x", (n, m), dtype)
    y = f.temporary("y", (n,), dtype)
    f.compute(
        "y_sum",
        {"i": n, "j": 2},
        lambda i, j: sum_over({"k": m}, lambda k: x[i, k]),
        into=y,
        at=lambda i, j: [i],
    )
    return Case(f.build([y]))


def j_of(j: Expr, dtype: DType) -> Expr:
    """A loop iterator as a value."""
    from polydl.ir import cast

    return cast(dtype, j)


_DTYPES = st.sampled_from([F32, F32, I32])
_SIZE = st.integers(1, 9)


@st.composite
def stages(draw: st.DrawFn) -> Case:
    """Random stages over a square: shifted reads of what came before, sums along an axis, updates in place."""
    n, dtype = draw(st.integers(1, 6)), draw(_DTYPES)
    f = FunctionBuilder("stages")
    known: list[Tensor] = [f.input("x", (n + 2, n + 2), dtype, lower=(-1, -1))]
    inside: list[bool] = [False]  # whether only 0..n is defined
    for k in range(draw(st.integers(1, 4))):
        which = draw(st.integers(0, len(known) - 1))
        source, tight = known[which], inside[which]
        di, dj = (0, 0) if tight else (draw(st.integers(-1, 1)), draw(st.integers(-1, 1)))
        turned = draw(st.booleans())
        other = known[draw(st.integers(0, len(known) - 1))]

        def read(
            i: Expr, j: Expr, source: Tensor = source, di: int = di, dj: int = dj, turned: bool = turned
        ) -> Expr:
            return source[j + dj, i + di] if turned else source[i + di, j + dj]

        match draw(st.integers(0, 3)):
            case 0:
                body: Callable[..., Any] = lambda i, j, read=read, other=other: read(i, j) - other[i, j]  # noqa: E731
                known.append(f.compute(f"p{k}", {"i": n, "j": n}, body))
            case 1:
                op = draw(st.sampled_from(["add", "max"]))
                body = lambda i, read=read, op=op: reduce_over(op, {"j": n}, lambda j: read(i, j))  # noqa: E731
                row = f.compute(f"r{k}", {"i": n}, body)
                known.append(f.compute(f"q{k}", {"i": n, "j": n}, lambda i, j, row=row: row[j] + row[i]))
            case 2:
                t = f.compute(f"c{k}", {"i": n, "j": n}, lambda i, j, read=read: read(i, j))
                low_i, low_j = draw(st.integers(0, 1)), draw(st.integers(0, 1))
                f.compute(
                    f"u{k}",
                    {"i": (low_i, n), "j": (low_j, n)},
                    lambda i, j, t=t, a=low_i, b=low_j: t[i, j] - t[i - a, j - b],
                    into=t,
                )
                known.append(t)
            case _:
                t = f.compute(f"z{k}", {"i": n, "j": n}, lambda i, j: select(i < j, known[0][i, j], 0))
                f.compute(
                    f"t{k}", {"i": n, "j": n}, lambda i, j, read=read, t=t: read(i, j) + t[i, j], into=t,
                    where=lambda i, j: j <= i,
                )  # fmt: skip
                known.append(t)
        inside.append(True)
    return Case(f.build([known[-1]]))


@st.composite
def named(draw: st.DrawFn) -> Case:
    """One of the functions above at drawn sizes."""
    d, symbolic = draw(_DTYPES), draw(st.booleans())
    match draw(st.integers(0, 9)):
        case 8:
            return blur(draw(st.integers(3, 20)), d)
        case 9:
            return projected(draw(_SIZE), draw(_SIZE), d)
        case 0:
            return matmul(
                draw(_SIZE), draw(_SIZE), draw(_SIZE), symbolic=symbolic, dtype=d, bias=draw(st.booleans())
            )
        case 1:
            r = draw(st.sampled_from([1, 3]))
            return convolution(1, draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5)),
                               draw(st.integers(1, 5)), r, draw(st.integers(1, 2)), d)  # fmt: skip
        case 2:
            return heat(draw(st.integers(1, 4)), draw(_SIZE), d)
        case 3:
            return in_place(draw(_SIZE), draw(_SIZE), d)
        case 4:
            return triangular(draw(_SIZE), symbolic=symbolic, dtype=d)
        case 5:
            return normalised(draw(_SIZE), draw(_SIZE), d)
        case 6:
            return gather(draw(_SIZE), draw(_SIZE), d)
        case _:
            return chain(draw(_SIZE), draw(_SIZE), d, symbolic=symbolic)


def cases() -> st.SearchStrategy[Case]:
    return st.one_of(named(), stages())
