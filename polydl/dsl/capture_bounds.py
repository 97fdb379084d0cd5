"""The proofs that a captured program stays inside its arrays and reads no scalar before it is assigned, or the place in
the source where it does."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polydl.dsl.capture_values import Scope
from polydl.dsl.function import Also, Function
from polydl.dsl.polyhedral import loads, scop_of, to_affine
from polydl.errors import InvalidProgram, PolyhedralBlowup
from polydl.ir.expr import Load
from polydl.ir.interpret import evaluate
from polydl.poly import bounds_violation, unwritten_read

__all__ = ["prove_bounds", "prove_set"]


def prove_bounds(scope: Scope, function: Function, origins: Mapping[str, ast.stmt]) -> None:
    """OutOfBounds, pointing at the subscripts, where an affine access can leave its array; `origins` of statements."""
    stray = bounds_violation(scop_of(function))
    if stray is None:
        return
    statement, array, sizes, instance, cell = stray
    computation = function.computation(statement)
    names = [*function.sizes, *(a.name for a in computation.axes)]
    values = dict(zip(names, [*sizes, *instance], strict=True))
    parts = [Also(computation.target, computation.index, computation.value), *computation.also]
    named = {e for x in parts for e in loads(x.value) if e.buffer == array}
    named |= {function.tensor(x.target)[x.index] for x in parts}
    inside = {id(n) for n in ast.walk(origins[statement])}
    culprits = [n for n, e in scope.places if id(n) in inside and e in named and _cell(e, values) == cell]
    shape = ", ".join(str(to_affine(e)) for e in function.tensor(array).shape)
    example = ", ".join(f"{n} = {v}" for n, v in values.items())
    raise scope.source.out_of_bounds(
        culprits[0] if culprits else origins[statement],
        f"a subscript can leave {array}",
        f"element [{', '.join(map(str, cell))}] is outside of [{shape}] for {example}",
        "correct the bounds, or state what holds for the sizes: assert … before the first loop",
    )


def prove_set(
    scope: Scope, function: Function, origins: Mapping[str, ast.stmt], scalars: Sequence[str]
) -> None:
    """InvalidProgram, pointing at the name, where one of the `scalars` may be read before it is assigned.

    Where isl cannot tell, the program is refused too: what it reads would be nobody's value.
    """
    scop = scop_of(function)
    for scalar in scalars:
        try:
            stray = unwritten_read(scop, function.order, scalar) if function.order is not None else None
        except PolyhedralBlowup as blowup:
            raise scope.source.error(
                scope.source.tree,
                f"{scalar} may be read before it is assigned",
                f"isl gave up on the question: {blowup.why}",
                f"assign to it before the loops: {scalar} = …",
            ) from None
        if stray is None:
            continue
        origin = origins[stray.statement]
        names = [n for n in ast.walk(origin) if isinstance(n, ast.Name) and n.id == scalar]
        reads = [
            n for n in names if isinstance(n.ctx, ast.Load)
        ] or names  # t += … reads the t that it stores to
        axes = [a.name for a in function.computation(stray.statement).axes]
        example = [f"{n} = {v}" for n, v in (*stray.parameters, *zip(axes, stray.reader, strict=True))]
        raise scope.source.error(
            reads[0] if reads else origin,
            f"{scalar} is read before it is assigned",
            f"nothing has been assigned to it at {', '.join(example)}" if example else "",
            f"assign to it first: {scalar} = …",
        )


def _cell(load: Load, values: Mapping[str, int]) -> tuple[int | None, ...]:
    """The element that a load reads for these sizes and iterators; None for a subscript that depends on data."""
    env = {n: np.int64(v) for n, v in values.items()}
    return tuple(None if to_affine(e) is None else int(evaluate(e, env, _no_load)) for e in load.index)


def _no_load(buffer: str, index: tuple[Any, ...]) -> Any:
    raise InvalidProgram(f"an affine subscript reads {buffer}")
