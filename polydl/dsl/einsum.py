"""Einstein's notation: a string that says what is multiplied and summed, as numpy's `einsum` reads it.

"ij,jk->ik"  matrix product      "bij,bjk->bik"  one for each b      "ii->i"  diagonal      "ii"  trace
"ij,jk"      without `->`, the subscripts that occur once, in alphabetical order
"...ij,...jk->...ik"  any number of leading axes; those of extent 1 are repeated where another operand has more
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from polydl.dsl.forms import Extents, Reduce, sum_over
from polydl.dsl.tensor import Tensor
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, ExprLike, Var, as_expr

__all__ = ["contraction", "pairs"]

_DOTS = "..."


def _parsed(spec: str, count: int) -> tuple[list[str], str]:
    """The subscripts of the operands and of the result, `.` for the ellipsis."""
    if not isinstance(spec, str):
        raise InvalidProgram(f"{spec!r} is no einsum", next="write letters, ... and ->, as in 'ij,jk->ik'")
    text = spec.replace(" ", "").replace(_DOTS, ".")
    given, arrow, result = text.partition("->")
    operands = given.split(",")
    letters = [ch for ch in given if ch not in ",."]
    for part in (*operands, result):
        if part.count(".") > 1 or not all(ch == "." or (ch.isalpha() and ch.isascii()) for ch in part):
            raise InvalidProgram(
                f"'{spec}' is no einsum",
                where=f"'{part}'",
                next="write letters, ... and ->, as in 'ij,jk->ik'",
            )
    if len(operands) != count:
        raise InvalidProgram(f"einsum '{spec}' is of {len(operands)} operands, {count} are given")
    if not arrow:
        once = sorted(ch for ch in set(letters) if letters.count(ch) == 1)
        result = ("." if "." in given else "") + "".join(once)
    bad = [ch for ch in result if ch not in given or result.count(ch) > 1]
    if bad:
        raise InvalidProgram(
            f"einsum '{spec}' has '{bad[0].replace('.', _DOTS)}' in the result "
            + ("twice" if bad[0] in given else "but in no operand")
        )
    return operands, result


def pairs(spec: str, count: int) -> Iterator[str]:
    """The einsum as a chain of those of two operands: the first two, then the result and the third, and so on."""
    operands, result = _parsed(spec, count)
    left = operands[0]
    for k in range(1, max(len(operands), 2)):
        right = operands[k : k + 1]
        later = set(chain(*operands[k + 1 :], result))
        if k + 1 >= len(operands):
            kept = result
        else:
            kept = "".join(dict.fromkeys(ch for ch in chain(left, *right) if ch in later))
        yield f"{','.join([left, *right])}->{kept}".replace(".", _DOTS)
        left = kept


def contraction(spec: str, operands: Sequence[Tensor]) -> tuple[Extents, Callable[..., ExprLike | Reduce]]:
    """Extents and body of the computation that an einsum of one or two operands is."""
    parts, result = _parsed(spec, len(operands))
    if len({t.dtype for t in operands}) != 1:
        kinds = ", ".join(f"{t.name} is {t.dtype}" for t in operands)
        raise InvalidProgram(
            f"einsum '{spec}' meets different element types", why=kinds, next="cast one of them"
        )
    ranks = [_leading(spec, part, t) for part, t in zip(parts, operands, strict=True)]
    leading = max(ranks)
    extents: dict[str, Expr] = {}
    origin: dict[str, str] = {}
    names = [
        [f"d{leading - rank + k}" for k in range(rank)] if ch == "." else [ch]
        for part, rank in zip(parts, ranks, strict=True)
        for ch in part
    ]
    subscripts: list[list[str]] = []
    position = 0
    for part in parts:
        subscripts.append([n for group in names[position : position + len(part)] for n in group])
        position += len(part)
    for tensor, axes in zip(operands, subscripts, strict=True):
        for name, extent in zip(axes, tensor.shape, strict=True):
            known = extents.get(name)
            if known is None or (len(name) > 1 and known == as_expr(1)):
                extents[name], origin[name] = extent, tensor.name
            elif known != extent and not (len(name) > 1 and extent == as_expr(1)):
                raise InvalidProgram(
                    f"einsum '{spec}': axis {name} has two extents",
                    why=f"{_shown(known)} in {origin[name]}, {_shown(extent)} in {tensor.name}",
                )
    kept = [n for ch in result for n in ([f"d{k}" for k in range(leading)] if ch == "." else [ch])]
    summed = [n for n in dict.fromkeys(chain(*subscripts)) if n not in kept]

    def term(values: Mapping[str, Expr]) -> Expr:
        factors = [
            t[
                tuple(
                    o if e == as_expr(1) else o + values[n] if o != as_expr(0) else values[n]
                    for n, e, o in zip(axes, t.shape, t.origin, strict=True)
                )
            ]
            for t, axes in zip(operands, subscripts, strict=True)
        ]
        product: Expr = factors[0]
        for factor in factors[1:]:
            product = product * factor
        return product

    def body(*outer: Var) -> ExprLike | Reduce:
        values: dict[str, Expr] = dict(zip(kept, outer, strict=True))
        if not summed:
            return term(values)
        inner = {n: extents[n] for n in summed}
        return sum_over(inner, lambda *r: term({**values, **dict(zip(summed, r, strict=True))}))

    return {n: extents[n] for n in kept}, body


def _leading(spec: str, part: str, tensor: Tensor) -> int:
    """How many axes of an operand the ellipsis stands for."""
    rest = tensor.rank - len(part.replace(".", ""))
    if rest < 0 or (rest and "." not in part):
        raise InvalidProgram(
            f"einsum '{spec}' gives '{part.replace('.', _DOTS)}' to {tensor.name}, which has {tensor.rank} dimensions"
        )
    return rest


def _shown(extent: Expr) -> str:
    return str(extent.value) if isinstance(extent, Const) else getattr(extent, "name", str(extent))
