"""Matrix products: one reduction, then elementwise computations for scales and bias."""

from __future__ import annotations

from collections.abc import Sequence

from polydl.dsl import FunctionBuilder, Reduce, Tensor, sum_over
from polydl.ir.expr import Expr, ExprLike, Var, as_expr
from polydl.ops.common import at, broadcast_shapes, check_broadcast, literal, pointwise, present
from polydl.ops.registry import OpNode, operator

__all__ = ["einsum", "gemm", "matmul"]


@operator("MatMul")
def matmul(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor) -> Tensor:
    """Axes b0, b1, …, i, j | k; a one-dimensional operand has no i (left) or j (right)."""
    if x.rank == 0 or y.rank == 0:
        raise node.invalid("a scalar operand")
    left, right = x.rank > 1, y.rank > 1
    k, k2 = x.extents[-1], y.extents[-2 if right else -1]
    if k != k2:
        raise node.invalid(f"{list(x.extents)} times {list(y.extents)}")
    batch = broadcast_shapes(node, x.extents[:-2], y.extents[:-2])
    axes = {f"b{d}": n for d, n in enumerate(batch)}
    axes |= {"i": x.extents[-2]} if left else {}
    axes |= {"j": y.extents[-1]} if right else {}

    def body(*outer: Var) -> ExprLike | Reduce:
        e = dict(zip(axes, outer, strict=True))
        lead = outer[: len(batch)]

        def term(r: Var) -> Expr:
            row = (e["i"], r) if left else (r,)
            column = (r, e["j"]) if right else (r,)
            return x[_lead(x, lead, len(row)) + row] * y[_lead(y, lead, len(column)) + column]

        return sum_over({"k": k}, term)

    return b.compute(node.output, axes, body)


def _lead(x: Tensor, batch: Sequence[Expr], inner: int) -> tuple[Expr, ...]:
    """The batch subscripts of an operand, broadcast and aligned at the matrix."""
    extents = x.extents[: x.rank - inner]
    own = tuple(batch)[len(batch) - len(extents) :]
    return tuple(as_expr(0) if n == 1 else i for n, i in zip(extents, own, strict=True))


@operator("Gemm")
def gemm(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha * A B + beta * C; the product over axes i, j | k, scales and C in one elementwise computation after it."""
    flip_x, flip_y = node.integer("transA", 0) != 0, node.integer("transB", 0) != 0
    if x.rank != 2 or y.rank != 2:
        raise node.invalid(f"operands of {x.rank} and {y.rank} dimensions")
    (m, k), (k2, n) = (x.extents[::-1] if flip_x else x.extents), (y.extents[::-1] if flip_y else y.extents)
    if k != k2:
        raise node.invalid(f"{m} x {k} times {k2} x {n}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    add = c is not None and beta != 0
    if c is not None:
        check_broadcast(node, c, (m, n))
    plain = alpha == 1 and not add

    def term(i: Var, j: Var, r: Var) -> Expr:
        return (x[r, i] if flip_x else x[i, r]) * (y[j, r] if flip_y else y[r, j])

    total = b.compute(
        node.output if plain else f"{node.output}_sum",
        {"i": m, "j": n},
        lambda i, j: sum_over({"k": k}, lambda r: term(i, j, r)),
    )
    if plain:
        return total

    def epilogue(i: tuple[Expr, ...]) -> Expr:
        value: Expr = total[i] if alpha == 1 else total[i] * literal(alpha, x.dtype)
        if c is None or not add:
            return value
        return value + (at(c, i) if beta == 1 else at(c, i) * literal(beta, x.dtype))

    return pointwise(b, node.output, (m, n), epilogue)


@operator("Einsum")
def einsum(b: FunctionBuilder, node: OpNode, *inputs: Tensor | None) -> Tensor:
    """Operands are contracted in pairs from the left, each pair in one reduction; axes are called by their letters."""
    operands = [present(node, x, i) for i, x in enumerate(inputs)]
    left, arrow, right = node.string("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise node.invalid(f"{len(operands)} operands for the equation '{node.string('equation', '')}'")
    labels, extents = _labels(node, terms, operands)
    dots = sorted((a for a in extents if a.startswith("dot")), key=lambda a: -int(a[3:]))
    if arrow:
        result = _split(right, dots)
    else:
        once = sorted(a for a in extents if sum(own.count(a) for own in labels) == 1 and a not in dots)
        result = [*dots, *once]
    if set(result) - extents.keys() or len(set(result)) != len(result):
        raise node.invalid(f"the result's labels {result} do not fit the operands")
    value, have = operands[0], labels[0]
    for step in range(1, max(2, len(operands))):
        last = step >= len(operands) - 1
        other, more = (operands[step], labels[step]) if len(operands) > 1 else (None, [])
        later = {a for own in labels[step + 1 :] for a in own} | set(result)
        keep = result if last else [a for a in dict.fromkeys([*have, *more]) if a in later]
        value = _contract(
            b, node.output if last else f"{node.output}_part", extents, value, have, other, more, keep
        )
        have = keep
    return value


def _split(term: str, dots: Sequence[str]) -> list[str]:
    head, ellipsis, tail = term.partition("...")
    return [*head, *(dots if ellipsis else ()), *tail]


def _labels(
    node: OpNode, terms: Sequence[str], operands: Sequence[Tensor]
) -> tuple[list[list[str]], dict[str, int]]:
    """The axis names of each operand (an ellipsis' dimensions are dotN, counted from the right), and all extents."""
    labels: list[list[str]] = []
    extents: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        hidden = x.rank - len(term.replace("...", "")) if "..." in term else 0
        own = _split(term, [f"dot{d}" for d in range(hidden - 1, -1, -1)])
        if len(own) != x.rank or hidden < 0:
            raise node.invalid(f"'{term}' does not fit {x.rank} dimensions")
        for a, n in zip(own, x.extents, strict=True):
            if extents.get(a, n) != n and 1 not in (n, extents[a]):
                raise node.invalid(f"label {a} has extents {extents[a]} and {n}")
            extents[a] = n if extents.get(a, 1) == 1 else extents[a]
        labels.append(own)
    return labels, extents


def _contract(
    b: FunctionBuilder,
    name: str,
    extents: dict[str, int],
    x: Tensor,
    x_labels: Sequence[str],
    y: Tensor | None,
    y_labels: Sequence[str],
    keep: Sequence[str],
) -> Tensor:
    """The product of `x` and `y` (if any), summed over the labels that are not kept."""
    summed = [a for a in dict.fromkeys([*x_labels, *y_labels]) if a not in keep]

    def read(t: Tensor, labels: Sequence[str], e: dict[str, Var]) -> Expr:
        return t[tuple(as_expr(0) if n == 1 else e[a] for a, n in zip(labels, t.extents, strict=True))]

    def term(e: dict[str, Var]) -> Expr:
        value = read(x, x_labels, e)
        return value if y is None else value * read(y, y_labels, e)

    def body(*outer: Var) -> ExprLike | Reduce:
        e = dict(zip(keep, outer, strict=True))
        if not summed:
            return term(e)
        return sum_over(
            {a: extents[a] for a in summed}, lambda *r: term(e | dict(zip(summed, r, strict=True)))
        )

    return b.compute(name, {a: extents[a] for a in keep}, body)
