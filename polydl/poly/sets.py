"""Integer sets and relations as isl text: building them from affine expressions, and asking about them.

Sets and relations are values of type `str` here; `isl.set_of` and `isl.map_of` parse each once per thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import islpy

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.isl import guarded, map_of, set_of
from polydl.poly.model import Access, Box, Scop, Statement

__all__ = [
    "access_relation",
    "box_text",
    "count",
    "extent",
    "header",
    "intersect",
    "is_empty",
    "is_subset",
    "pairs_text",
    "points",
    "primed",
    "relation_text",
    "restrict",
    "restricted_domain",
    "sample",
    "schedule_text",
    "set_text",
]


def header(parameters: Iterable[str]) -> str:
    """`"[N, M] -> "`, or nothing without parameters."""
    names = ", ".join(parameters)
    return f"[{names}] -> " if names else ""


def set_text(
    parameters: Iterable[str], name: str, iterators: Iterable[str], conditions: Iterable[str]
) -> str:
    """isl text of `{ name[iterators] : conditions }`; empty conditions are true."""
    body = " and ".join(f"({c})" for c in conditions if c)
    return f"{header(parameters)}{{ {name}[{', '.join(iterators)}]{' : ' + body if body else ''} }}"


def relation_text(
    parameters: Iterable[str],
    source: str,
    inputs: Iterable[str],
    sink: str,
    outputs: Iterable[str],
    condition: str,
) -> str:
    """isl text of `{ source[inputs] -> sink[outputs] : condition }`."""
    left, right = f"{source}[{', '.join(inputs)}]", f"{sink}[{', '.join(outputs)}]"
    return f"{header(parameters)}{{ {left} -> {right}{' : ' + condition if condition else ''} }}"


@lru_cache(maxsize=16384)
def primed(expr: Affine, iterators: tuple[str, ...]) -> Affine:
    """The expression at the sink of a dependence: iterators get a prime, parameters stay."""
    return expr.substitute({i: dim(f"{i}'") for i in iterators})


def restrict(scop: Scop, statement: Statement, conditions: Iterable[str]) -> islpy.Set:
    """The domain within the context, cut by conditions over the iterators.  # { S[iterators] }"""
    domain = set_of(statement.domain)
    if scop.context:
        domain = domain.intersect_params(set_of(scop.context).params())
    for condition in conditions:
        if condition:
            domain = domain.intersect(
                set_of(set_text(scop.parameters, statement.name, statement.iterators, (condition,)))
            )
    return domain


def schedule_text(
    parameters: Iterable[str],
    statement: str,
    iterators: Iterable[str],
    times: Iterable[Affine],
    outer: Iterable[tuple[str, Affine]] = (),
    restrictions: Iterable[str] = (),
) -> str:
    """isl text of `{ statement[iterators] -> [times] }` with one variable per floor division.

    `outer` are further times that are fixed: each equals the parameter of that name. `restrictions` are conditions
    on the instances; where they spell a division as `Affine` prints it, they share the quotient too.

    Written so that `floor(x/T)` and `x mod T` share their quotient: isl then sees `x = T * o + i`, where two
    separate divisions would cost it several times as much in AST generation.
    """
    quotients: dict[FloorDiv, str] = {}
    times, outer = tuple(times), tuple(outer)
    outputs = [f"t{d}'" for d in range(len(times))]
    named = [*outer, *zip(outputs, times, strict=True)]
    for output, time in named:
        if len(time.terms) == 1 and time.constant == 0 and time.terms[0][1] == 1:
            atom = time.terms[0][0]
            if isinstance(atom, FloorDiv):
                quotients.setdefault(atom, output)
    hidden: list[str] = []
    conditions: list[str] = []

    def linear(expr: Affine) -> Affine:
        result = Affine((), expr.constant)
        for atom, c in expr.terms:
            match atom:
                case FloorDiv():
                    result = result + quotient(atom) * c
                case Mod(dividend, modulus):
                    whole = quotient(FloorDiv(dividend, modulus)) * modulus
                    result = result + (linear(dividend) - whole) * c
                case _:
                    result = result + dim(atom) * c
        return result

    bounded: set[FloorDiv] = set()

    def quotient(atom: FloorDiv) -> Affine:
        if atom not in quotients:
            quotients[atom] = f"q{len(hidden)}'"
            hidden.append(quotients[atom])
        value = dim(quotients[atom])
        if atom not in bounded:
            bounded.add(atom)
            rest = linear(atom.dividend) - value * atom.divisor
            conditions.append(f"0 <= {rest} <= {atom.divisor - 1}")
        return value

    for output, time in named:
        value = linear(time)
        if value != dim(output):
            conditions.append(f"{output} = {value}")
    spelled = {str(q): name for q, name in quotients.items()}
    spelled |= {
        str(Mod(q.dividend, q.divisor)): f"({q.dividend} - {q.divisor}*{n})" for q, n in quotients.items()
    }
    for restriction in restrictions:
        for text in sorted(spelled, key=len, reverse=True):
            restriction = restriction.replace(text, spelled[text])
        if restriction:
            conditions.append(f"({restriction})")
    body = " and ".join(conditions)
    if hidden:
        body = f"exists {', '.join(hidden)} : {body}"
    left = f"{statement}[{', '.join(iterators)}]"
    head = header((*parameters, *(name for name, _ in outer)))
    return f"{head}{{ {left} -> [{', '.join(outputs)}]{' : ' + body if body else ''} }}"


@guarded
def restricted_domain(scop: Scop, statement: Statement, conditions: tuple[str, ...]) -> str:
    """isl text of the statement's instances that satisfy the conditions."""
    return str(restrict(scop, statement, conditions))


def access_relation(scop: Scop, statement: Statement, access: Access) -> islpy.Map:
    """Instances to the cells they may touch, anything in the box if data-dependent.  # { S[..] -> T[..] }"""
    box = dict(scop.tensors)[access.tensor]
    cells = [f"c{k}'" for k in range(len(access.subscripts))]
    parts = []
    for cell, subscript, lower, upper in zip(cells, access.subscripts, box.lower, box.upper, strict=True):
        parts.append(f"{cell} = {subscript}" if subscript is not None else f"{lower} <= {cell} < {upper}")
    text = relation_text(
        scop.parameters, statement.name, statement.iterators, access.tensor, cells, " and ".join(parts)
    )
    return map_of(text).intersect_domain(restrict(scop, statement, ()))


def box_text(scop: Scop, tensor: str, box: Box) -> str:
    """isl text of the cells of a tensor."""
    cells = [f"c{k}'" for k in range(len(box.lower))]
    ranges = [f"{lo} <= {c} < {up}" for lo, c, up in zip(box.lower, cells, box.upper, strict=True)]
    return set_text(scop.parameters, tensor, cells, ranges)


@guarded
def is_empty(text: str) -> bool:
    """Whether a set has no point for any value of its parameters."""
    return bool(set_of(text).is_empty())


@guarded
def is_subset(inner: str, outer: str) -> bool:
    """Whether every point of `inner` is one of `outer`."""
    return bool(set_of(inner).is_subset(set_of(outer)))


@guarded
def intersect(first: str, second: str) -> str:
    """isl text of the common points."""
    return str(set_of(first).intersect(set_of(second)))


def point_coordinates(point: islpy.Set, parameters: int) -> tuple[int, ...]:
    """The numbers of a one-point set whose parameters are fixed: parameters first, then dimensions."""
    single = point.sample_point()
    values = [single.get_coordinate_val(islpy.dim_type.param, k) for k in range(parameters)]
    values += [single.get_coordinate_val(islpy.dim_type.set, k) for k in range(point.dim(islpy.dim_type.set))]
    return tuple(v.to_python() for v in values)


@guarded
def sample(text: str) -> tuple[int, ...] | None:
    """The coordinates of some point (for some value of the parameters), or None if there is none."""
    points = set_of(text)
    return None if points.is_empty() else point_coordinates(points, 0)


@guarded
def count(text: str) -> int:
    """The number of points of a bounded set without free parameters."""
    points = set_of(text)
    value = points.count_val()
    if not value.is_int():
        raise InvalidProgram(f"the set '{text}' has no finite number of points")
    return int(value.to_python())


@guarded
def pairs_text(relation: str) -> str:
    """isl text of the related pairs as one flat set: the coordinates of the source, then those of the sink."""
    return str(map_of(relation).wrap().flatten())


@guarded
def points(text: str, values: tuple[tuple[str, int], ...] = ()) -> tuple[tuple[int, ...], ...]:
    """All points of a bounded set in lexicographic order, parameters fixed at `values`.

    Meant for tests and small sets: the time is that of enumerating the bounding box.
    """
    pinned = fix_parameters(set_of(text), dict(values))
    found: list[tuple[int, ...]] = []

    def descend(rest: islpy.Set, prefix: tuple[int, ...]) -> None:
        depth = len(prefix)
        if depth == rest.dim(islpy.dim_type.set):
            found.append(prefix)
            return
        low, high = rest.dim_min_val(depth), rest.dim_max_val(depth)
        if not (low.is_int() and high.is_int()):
            raise InvalidProgram(f"the set '{text}' is not bounded")
        for value in range(low.to_python(), high.to_python() + 1):
            slice_ = rest.fix_val(islpy.dim_type.set, depth, islpy.Val(value, context=rest.get_ctx()))
            if not slice_.is_empty():
                descend(slice_, (*prefix, value))

    if not pinned.is_empty():
        descend(pinned, ())
    return tuple(found)


def fix_parameters(space: islpy.Set, values: dict[str, int]) -> islpy.Set:
    """The set with those of the named parameters that it has fixed at numbers."""
    for k in range(space.dim(islpy.dim_type.param)):
        name = space.get_dim_name(islpy.dim_type.param, k)
        if name in values:
            space = space.fix_val(islpy.dim_type.param, k, islpy.Val(values[name], context=space.get_ctx()))
    return space


@guarded
def extent(domain: str, name: str) -> tuple[Affine, Affine] | None:
    """`(smallest, largest)` value of one iterator over a domain, affine in the parameters; None if not one expression.

    An empty or unbounded domain has none.
    """
    space = set_of(domain)
    position = space.find_dim_by_name(islpy.dim_type.set, name)
    if position < 0:
        raise InvalidProgram(f"the domain '{domain}' has no iterator '{name}'")
    if space.is_empty():
        return None
    low, high = space.dim_min_val(position), space.dim_max_val(position)
    if low.is_int() and high.is_int():
        return Affine((), low.to_python()), Affine((), high.to_python())
    others = space.dim(islpy.dim_type.set)
    line = space.project_out(islpy.dim_type.set, position + 1, others - position - 1)
    line = line.project_out(islpy.dim_type.set, 0, position)
    kind = islpy.dim_type.set
    if not (line.dim_has_lower_bound(kind, 0) and line.dim_has_upper_bound(kind, 0)):
        return None
    ends = [single_affine(line.dim_min(0)), single_affine(line.dim_max(0))]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def single_affine(pieces: islpy.PwAff) -> Affine | None:
    """The one expression of a piecewise affine wherever it has a value; None if there are more."""
    pieces = pieces.gist(pieces.domain()).coalesce()
    return from_isl(pieces.as_aff()) if pieces.isa_aff() else None


def from_isl(aff: islpy.Aff) -> Affine | None:
    """An isl affine expression as ours: dimensions by name, None where a division is not a plain floor."""
    coefficients: dict[str | FloorDiv | Mod, int] = {}
    scale = aff.get_denominator_val().to_python()
    result = Affine((), int(aff.get_constant_val().mul(islpy.Val(scale, context=aff.get_ctx())).to_python()))
    for kind in (islpy.dim_type.param, islpy.dim_type.in_):
        for k in range(aff.dim(kind)):
            value = aff.get_coefficient_val(kind, k)
            if not value.is_zero():
                name = aff.get_dim_name(kind, k)
                if name is None:
                    return None
                coefficients[name] = int(value.mul(islpy.Val(scale, context=aff.get_ctx())).to_python())
    result = result + Affine.of(coefficients)
    for k in range(aff.dim(islpy.dim_type.div)):
        value = aff.get_coefficient_val(islpy.dim_type.div, k)
        if not value.is_zero():
            inner = from_isl(aff.get_div(k))
            if inner is None:
                return None
            factor = int(value.mul(islpy.Val(scale, context=aff.get_ctx())).to_python())
            result = result + inner * factor
    return result if scale == 1 else result // scale
