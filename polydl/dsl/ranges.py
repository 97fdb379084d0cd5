"""The ranges of axes that are not given: read off the shapes of the tensors that they index.

C[i, j] += A[i, k] * B[k, j]            i, j and k are those of A's and B's dimensions
y[i] += x[i + r] * w[r]                 r is that of w; i such that i + r stays inside x for every r
x[i - 1] + x[i] + x[i + 1]              i such that all three stay inside x

First come axes that stand alone in a subscript, then those that stand beside axes with known ranges. Dimensions of
different extents do not agree on one range: that is an error, never the smaller one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polydl.dsl.forms import OpenAxis
from polydl.dsl.function import Axis
from polydl.dsl.polyhedral import from_affine, to_affine
from polydl.dsl.tensor import Tensor
from polydl.errors import InvalidProgram
from polydl.ir.expr import Load
from polydl.ir.printer import print_expr
from polydl.poly.affine import Affine

__all__ = ["closed"]


@dataclass(frozen=True, slots=True)
class _Claim:
    """An access that keeps an axis in `lower <= axis < upper`; `box`: the dimension's own lower and upper bound."""

    access: str
    lower: Affine
    upper: Affine
    box: tuple[Affine, Affine]
    unit: bool  # the axis is not multiplied


def closed(
    what: str, axes: Sequence[Axis | OpenAxis], accesses: Iterable[Load], tensors: Mapping[str, Tensor]
) -> tuple[Axis, ...]:
    """The axes with all ranges. InvalidProgram where the accesses leave one open, disagree on it, or leave it empty."""
    known: dict[str, Axis] = {a.name: a for a in axes if isinstance(a, Axis)}
    if len(known) == len(axes):
        return tuple(known.values())
    names = [a.name for a in axes]
    distinct = [x for x in dict.fromkeys(accesses) if x.buffer in tensors]
    while len(known) < len(axes):
        before = len(known)
        ready = dict(known)
        for name in names:
            if name not in known:
                claims = [c for x in distinct for c in _claims(name, names, x, tensors[x.buffer], ready)]
                claims = [c for c in claims if c.unit] or claims
                if claims:
                    known[name] = _agreed(what, name, claims)
        if len(known) == before:
            missing = [n for n in names if n not in known]
            raise InvalidProgram(
                f"axis {missing[0]} of {what} has no range",
                why="no subscript of a tensor is this axis, or an affine expression of it and of axes with ranges",
                next=f'give it: {{"{missing[0]}": extent}}',
            )
    return tuple(known[n] for n in names)


def _claims(
    name: str, names: Sequence[str], access: Load, tensor: Tensor, known: Mapping[str, Axis]
) -> list[_Claim]:
    """What the subscripts of one access say about an axis, as far as the other axes in them are known."""
    found = []
    for e, low, extent in zip(access.index, tensor.origin, tensor.shape, strict=True):
        form, first, size = to_affine(e), to_affine(low), to_affine(extent)
        if form is None or first is None or size is None:
            continue
        factor = dict(form.terms).get(name, 0)
        rest = form - Affine(((name, factor),)) if factor else form
        if not factor or name in rest.names():
            continue
        span = _span(rest, names, known)
        if span is None:
            continue
        least, most = span
        end = first + size
        step = abs(factor)
        if factor > 0:  # first <= step * axis + least and step * axis + most < end
            lower, upper = -((least - first) // step), (end - 1 - most) // step + 1
        else:
            lower, upper = -((end - 1 - most) // step), (least - first) // step + 1
        found.append(_Claim(print_expr(access), lower, upper, (first, end), step == 1))
    return found


def _span(e: Affine, names: Sequence[str], known: Mapping[str, Axis]) -> tuple[Affine, Affine] | None:
    """The least and the greatest value of an expression of known axes and sizes; None where it is not known."""
    least = most = Affine((), e.constant)
    for atom, factor in e.terms:
        if not isinstance(atom, str):
            return None
        if atom not in names:
            least, most = least + Affine(((atom, factor),)), most + Affine(((atom, factor),))
            continue
        axis = known.get(atom)
        low, high = (to_affine(axis.lower), to_affine(axis.upper)) if axis is not None else (None, None)
        if low is None or high is None or (low.names() | high.names()) & set(names):
            return None
        ends = (low * factor, (high - 1) * factor)
        least, most = least + ends[factor < 0], most + ends[factor > 0]
    return least, most


def _agreed(what: str, name: str, claims: Sequence[_Claim]) -> Axis:
    """The range in which all accesses stay inside their tensors."""
    ranges = dict.fromkeys((c.lower, c.upper) for c in claims)
    lower, upper = claims[0].lower, claims[0].upper
    if len(ranges) > 1:
        lowers, uppers = [c.lower for c in claims], [c.upper for c in claims]
        comparable = all((x - lower).is_constant for x in lowers) and all(
            (x - upper).is_constant for x in uppers
        )
        if not comparable or len({c.box for c in claims}) > 1:
            raise InvalidProgram(
                f"the accesses in {what} disagree on the range of axis {name}",
                where=_listed(name, claims),
                next=f'give the range that is meant: {{"{name}": (lower, upper)}}',
            )
        lower = max(lowers, key=lambda x: (x - lowers[0]).constant)
        upper = min(uppers, key=lambda x: (x - uppers[0]).constant)
    count = upper - lower
    if count.is_constant and count.constant <= 0:
        raise InvalidProgram(f"the range of axis {name} of {what} is empty", where=_listed(name, claims))
    return Axis(name, from_affine(lower), from_affine(upper))


def _listed(name: str, claims: Sequence[_Claim]) -> str:
    texts = dict.fromkeys(f"\n    {c.access} needs {c.lower} <= {name} < {c.upper}" for c in claims)
    return "".join(texts)
