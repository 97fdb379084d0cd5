"""How much of a statement a condition holds for, estimated: enough to weigh the parts of a schedule."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Final

import islpy

from polydl.poly.isl import guarded, set_of
from polydl.poly.model import Scop
from polydl.poly.sets import fix_parameters, restrict, set_text

__all__ = ["share_of_instances"]

_POINTS: Final = 60
_TRIALS: Final = 1500


@guarded
def share_of_instances(
    scop: Scop, name: str, conditions: tuple[str, ...], sizes: tuple[tuple[str, int], ...]
) -> float:
    """About which part of the statement's instances meet all conditions (isl text over its iterators), for these sizes.

    The same every time: the instances looked at are drawn by a generator with a fixed seed.
    """
    return _share(scop, name, tuple(c for c in conditions if c), sizes)


@lru_cache(maxsize=1024)
def _share(scop: Scop, name: str, conditions: tuple[str, ...], sizes: tuple[tuple[str, int], ...]) -> float:
    points = _points(scop, name, sizes)
    if not conditions or not points:
        return 1.0
    s = scop.statement(name)
    chosen = fix_parameters(set_of(set_text(scop.parameters, name, s.iterators, conditions)), dict(sizes))
    return sum(_holds(chosen, p) for p in points) / len(points)


@lru_cache(maxsize=64)
def _points(scop: Scop, name: str, sizes: tuple[tuple[str, int], ...]) -> tuple[tuple[int, ...], ...]:
    """Instances of the statement, evenly drawn from the box around its domain; fewer where most of that is empty."""
    domain = fix_parameters(restrict(scop, scop.statement(name), ()), dict(sizes))
    if domain.is_empty():
        return ()
    box = []
    for k in range(domain.dim(islpy.dim_type.set)):
        low, high = domain.dim_min_val(k), domain.dim_max_val(k)
        if not (low.is_int() and high.is_int()):
            return ()
        box.append((low.to_python(), high.to_python()))
    draw = Random(1)
    found: list[tuple[int, ...]] = []
    for _ in range(_TRIALS):
        point = tuple(draw.randint(low, high) for low, high in box)
        if _holds(domain, point):
            found.append(point)
            if len(found) == _POINTS:
                break
    return tuple(found)


def _holds(s: islpy.Set, point: tuple[int, ...]) -> bool:
    for k, value in enumerate(point):
        s = s.fix_val(islpy.dim_type.set, k, islpy.Val(value, context=s.get_ctx()))
    return not s.is_empty()
