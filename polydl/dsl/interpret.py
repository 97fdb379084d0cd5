"""The reference interpreter of functions: the contract of `function`, executed on numpy arrays.

Statements run one after the other over their whole iteration domains, vectorised: a box becomes broadcasting index
grids, any other domain a list of points. A statement that reads its own target (a recurrence) runs in order along the
axes that carry the dependence. A function with an explicit order runs instance by instance in that order. Every
subscript is checked, and reading an element before it is stored is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from polydl.dsl.function import Also, Axis, Function, StatementDef
from polydl.dsl.polyhedral import from_affine, loads, scop_of
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import InvalidInput, InvalidProgram, OutOfBounds
from polydl.ir.expr import Expr, Load, Var, walk
from polydl.ir.interpret import evaluate_array
from polydl.poly import paths

__all__ = ["interpret"]

Array = npt.NDArray[Any]
Env = dict[str, Any]  # variable -> number, or an array of numbers that broadcasts against the others

_CHUNK: Final = 1 << 19  # points evaluated at once
_UFUNCS: Final[dict[str, np.ufunc]] = {
    "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum, "and": np.logical_and,
    "or": np.logical_or, "bitand": np.bitwise_and, "bitor": np.bitwise_or, "bitxor": np.bitwise_xor,
}  # fmt: skip


def interpret(
    function: Function, arrays: Mapping[str, Array], sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Run `function` on its inputs and constants (by name, in logical shapes); its outputs by name.

    A tensor updated in place is given and returned: the array given stays as it is.

    `sizes` gives the symbolic sizes. Sums and products of f16 and f32 are accumulated in float64 and rounded once.
    Elements of an output that nothing stores to are 0. InvalidInput for arrays that do not fit the function,
    OutOfBounds for a subscript outside its tensor, InvalidProgram for reading an element before it is stored.
    """
    env = _sizes(function, sizes or {})
    machine = _Machine({t.name: _cells(t, env, arrays) for t in function.tensors}, env)
    given = function.of_role(TensorRole.INPUT, TensorRole.CONSTANT, TensorRole.INOUT)
    unknown = sorted(set(arrays) - {t.name for t in given})
    if unknown:
        raise InvalidInput(f"function {function.name} has no inputs called {unknown}")
    with np.errstate(all="ignore"):
        if function.order is not None:
            machine.run_in_order(function)
        else:
            for s in function.statements():
                machine.run(s)
    results = function.of_role(TensorRole.OUTPUT, TensorRole.INOUT)
    return {t.name: machine.memory[t.name].result for t in results}


def _sizes(function: Function, sizes: Mapping[str, int]) -> Env:
    missing = [n for n in function.sizes if n not in sizes]
    if missing:
        raise InvalidInput(f"function {function.name} needs values for the sizes {missing}")
    env: Env = {n: np.int64(sizes[n]) for n in function.sizes}
    conditions = function.conditions or tuple(Var(n) >= 1 for n in function.sizes)
    for c in conditions:
        if not evaluate_array(c, env, _no_load):
            raise InvalidInput(
                f"the sizes {dict(sizes)} break an assumption of {function.name}", where=str(c)
            )
    return env


def _no_load(buffer: str, index: tuple[Any, ...], where: Array | None) -> Any:
    raise InvalidProgram(
        f"a bound or a shape reads tensor '{buffer}'", why="only sizes and axes may occur there"
    )


@dataclass(slots=True)
class _Cells:
    """The contents of a tensor; `written` is None where every element has a value. A scalar is kept as one element."""

    array: Array
    origin: tuple[int, ...]
    written: Array | None
    read_only: bool
    scalar: bool = False

    @property
    def result(self) -> Array:
        return self.array.reshape(()) if self.scalar else self.array


def _cells(t: Tensor, env: Env, arrays: Mapping[str, Array]) -> _Cells:
    shape = tuple(int(evaluate_array(e, env, _no_load)) for e in t.shape)
    origin = tuple(int(evaluate_array(e, env, _no_load)) for e in t.origin)
    if t.role not in (TensorRole.INPUT, TensorRole.CONSTANT, TensorRole.INOUT):
        cells = shape or (1,)
        return _Cells(np.zeros(cells, t.dtype.numpy), origin, np.zeros(cells, np.bool_), False, not shape)
    if t.name not in arrays:
        raise InvalidInput(f"input '{t.name}' is missing", why=f"it is a {t.dtype}{list(shape)}")
    array = np.asarray(arrays[t.name])
    if array.shape != shape or array.dtype != t.dtype.numpy:
        raise InvalidInput(
            f"input '{t.name}' must be {t.dtype}{list(shape)}", why=f"it is {array.dtype}{list(array.shape)}"
        )
    if t.role is TensorRole.INOUT:
        return _Cells(array.copy().reshape(shape or (1,)), origin, None, False, not shape)
    return _Cells(array.reshape(shape or (1,)), origin, None, True, not shape)


class _Machine:
    def __init__(self, memory: dict[str, _Cells], env: Env) -> None:
        self.memory = memory
        self.sizes = env

    def run_in_order(self, function: Function) -> None:
        """Every instance of every statement at its time in the function's explicit order."""
        for s, env in _instances(function, self.sizes):
            self._require_writable(s)
            cells = self.memory[s.target]
            if not isinstance(s.op, str):
                self._store(s, env, ())
                continue
            value, index = self._value(s, s.value, env, ()), self._place(s, s.targets[0], env, ())
            if cells.written is not None and not cells.written[index]:
                raise InvalidProgram(
                    f"{s.name} combines into an element of '{s.target}' that nothing has stored to"
                )
            cells.array[index] = _UFUNCS[s.op](cells.array[index], value)

    def run(self, s: StatementDef) -> None:
        self._require_writable(s)
        ordered = _ordered_axes(s)
        if ordered:
            self._recurrence(s, [a for a in s.axes if a.name in ordered], dict(self.sizes))
        elif isinstance(s.op, str):
            self._reduce(s, self.memory[s.target])
        else:
            for env, shape in _points(s.axes, s.conditions, self.sizes):
                self._store(s, env, shape)
        for cells in (self.memory[x.target] for x in s.targets):
            if cells.written is not None and cells.written.all():
                cells.written = None

    def _require_writable(self, s: StatementDef) -> None:
        for x in s.targets:
            if self.memory[x.target].read_only:
                raise InvalidProgram(f"computation {s.name} stores to the input '{x.target}'")

    def _recurrence(self, s: StatementDef, ordered: list[Axis], env: Env) -> None:
        """One step at a time along the ordered axes, all points of the other axes at once."""
        if ordered:
            axis, *rest = ordered
            for value in range(_bound(axis.lower, env), _bound(axis.upper, env)):
                self._recurrence(s, rest, {**env, axis.name: np.int64(value)})
            return
        free = tuple(a for a in s.axes if a.name not in env)
        for points, shape in _points(free, s.conditions, env):
            if not isinstance(s.op, str):
                self._store(s, points, shape)
            else:
                array, index = self.memory[s.target].array, self._place(s, s.targets[0], points, shape)
                _UFUNCS[s.op].at(array, index, self._value(s, s.value, points, shape))

    def _store(self, s: StatementDef, env: Env, shape: tuple[int, ...]) -> None:
        stores = s.stores()
        found = [(self._value(s, x.value, env, shape), self._place(s, x, env, shape)) for x in stores]
        for x, (value, index) in zip(stores, found, strict=True):
            cells = self.memory[x.target]
            cells.array[index] = value  # of repeated subscripts the last one stays, which is the last point's
            if cells.written is not None:
                cells.written[index] = True

    def _reduce(self, s: StatementDef, cells: _Cells) -> None:
        assert isinstance(s.op, str)
        ufunc = _UFUNCS[s.op]
        wide = cells.array.dtype.kind == "f" and s.op in ("add", "mul")
        total = cells.array.astype(np.float64) if wide else cells.array
        used = {v.name for e in s.index for v in walk(e) if isinstance(v, Var)}
        collapse = tuple(d for d, a in enumerate(s.axes) if a.name not in used)
        distinct = all(isinstance(e, Var) for e in s.index) and len(set(s.index)) == len(s.index)
        for env, shape in _points(s.axes, s.conditions, self.sizes):
            value = self._value(s, s.value, env, shape)
            grid = len(shape) == len(s.axes)
            if grid:
                value = ufunc.reduce(value, axis=collapse, dtype=total.dtype, keepdims=True)
                shape = value.shape
            index = self._place(s, s.targets[0], env, shape)
            if cells.written is not None and not cells.written[index].all():
                raise InvalidProgram(
                    f"reduction {s.name} combines into an element that nothing has stored to"
                )
            if grid and distinct:
                total[index] = ufunc(total[index], value)
            else:
                ufunc.at(total, index, value)
        if wide:
            cells.array[...] = total

    def _value(self, s: StatementDef, e: Expr, env: Env, shape: tuple[int, ...]) -> Array:
        def load(buffer: str, index: tuple[Any, ...], where: Array | None) -> Any:
            return self._load(s, env, buffer, index, where)

        return np.broadcast_to(evaluate_array(e, env, load), shape)

    def _place(self, s: StatementDef, x: Also, env: Env, shape: tuple[int, ...]) -> tuple[Array, ...]:
        index = tuple(np.broadcast_to(evaluate_array(e, env, _no_load), shape) for e in x.index)
        if not index and self.memory[x.target].scalar:
            return (np.zeros(shape, np.int64),)
        return self._checked(s, env, x.target, index, None)

    def _load(
        self, s: StatementDef, env: Env, buffer: str, index: tuple[Any, ...], where: Array | None
    ) -> Any:
        cells = self.memory[buffer]
        if where is not None and not where.any():
            return np.zeros(where.shape, cells.array.dtype)
        place = self._checked(s, env, buffer, index, where)
        if cells.written is not None:
            known = cells.written[place]
            if where is not None:
                known = known | ~where
            if not known.all():
                raise InvalidProgram(
                    f"{s.name} reads an element of '{buffer}' that nothing has stored to",
                    where=_example(s, env, ~np.asarray(known)),
                )
        return cells.array[place]

    def _checked(
        self, s: StatementDef, env: Env, buffer: str, index: tuple[Any, ...], where: Array | None
    ) -> tuple[Array, ...]:
        """Storage subscripts, in bounds; those that `where` excludes become 0."""
        cells = self.memory[buffer]
        if len(index) != len(cells.origin):
            raise InvalidProgram(
                f"{s.name} gives {len(index)} subscripts to '{buffer}' of rank {len(cells.origin)}"
            )
        if cells.scalar:
            return (np.zeros((), np.int64),)
        place = []
        for d, (i, low, extent) in enumerate(zip(index, cells.origin, cells.array.shape, strict=True)):
            offset = np.asarray(i) - low if low else np.asarray(i)
            outside = (offset < 0) | (offset >= extent)
            if where is not None:
                outside = outside & where
                offset = np.where(where, offset, 0)
            if outside.any():
                value = np.broadcast_to(i, outside.shape)[outside].flat[0]
                raise OutOfBounds(
                    f"subscript {value} of dimension {d} is outside '{buffer}'",
                    where=_example(s, env, outside),
                    why=f"valid are {low} to {low + extent - 1}" if extent else "the dimension is empty",
                )
            place.append(offset)
        return tuple(place)


def _instances(function: Function, sizes: Env) -> Iterator[tuple[StatementDef, Env]]:
    """All statement instances in the order of the function's schedule tree."""
    definitions = {s.name: s for s in function.statements()}
    assert function.order is not None
    found: list[tuple[StatementDef, Array, Array]] = []  # statement, points, times
    for path in paths(scop_of(function), function.order):
        if path.conditions:
            raise InvalidProgram(f"the original order of {function.name} has a filter with a condition")
        s = definitions[path.statement]
        for env, shape in _points(s.axes, s.conditions, sizes):
            columns = [np.broadcast_to(env[a.name], shape).ravel() for a in s.axes]
            times = [
                np.broadcast_to(evaluate_array(from_affine(e), env, _no_load), shape).ravel()
                for e in path.exprs
            ]
            count = prod(shape)
            found.append(
                (s, np.reshape(columns, (len(columns), count)), np.reshape(times, (len(times), count)))
            )
    if not found:
        return
    depth = max(len(times) for _, _, times in found)
    rank = np.concatenate([np.full(times.shape[1], k) for k, (_, _, times) in enumerate(found)])
    clock = np.concatenate([np.pad(t, ((0, depth - len(t)), (0, 0))) for _, _, t in found], axis=1)
    first = np.cumsum([0, *(t.shape[1] for _, _, t in found)])
    for k in np.lexsort([rank, *reversed(clock)]):  # at equal times the textual order decides
        s, points, _ = found[rank[k]]
        values = points[:, k - first[rank[k]]]
        yield s, {**sizes, **{a.name: np.int64(v) for a, v in zip(s.axes, values, strict=True)}}


def _ordered_axes(s: StatementDef) -> frozenset[str]:
    """The axes along which the points must run in order: none where the statement does not read its target.

    An axis is free if it is itself, alone, the same subscript of the store and of every read of the target: points that
    differ in it then touch different elements.
    """
    stores = s.targets if isinstance(s.op, str) else s.stores()
    targets = {x.target for x in stores}
    own = [load for x in stores for load in loads(x.value) if load.buffer in targets]
    if not own and len(targets) == len(stores):
        return frozenset()
    free: set[str] = set()
    if not isinstance(s.op, str) and len(targets) == len(stores):
        free = {a.name for a in s.axes if all(_separates(a, x, own) for x in stores)}
    changed = True
    while changed:  # the bounds of an ordered axis must be known numbers when its turn comes
        needed = {
            v.name
            for a in s.axes
            if a.name not in free
            for e in (a.lower, a.upper)
            for v in walk(e)
            if isinstance(v, Var)
        }
        changed = bool(free & needed)
        free -= needed
    return frozenset(a.name for a in s.axes) - free


def _separates(axis: Axis, store: Also, own: list[Load]) -> bool:
    """Whether points that differ in `axis` store to, and read of the target, different elements."""
    reads = [load for load in own if load.buffer == store.target]
    return any(e == axis.var and all(x.index[d] == e for x in reads) for d, e in enumerate(store.index))


def _bound(e: Expr, env: Env) -> int:
    return int(evaluate_array(e, env, _no_load))


def _points(
    axes: tuple[Axis, ...], conditions: tuple[Expr, ...], env: Env
) -> Iterator[tuple[Env, tuple[int, ...]]]:
    """The domain in lexicographic order, in chunks: variables' values, and the common shape of a chunk (not empty).

    A box without conditions gives grids, one array dimension per axis; any other domain lists of points.
    """
    names = {a.name for a in axes}
    inner = [v.name for a in axes for e in (a.lower, a.upper) for v in walk(e) if isinstance(v, Var)]
    open_conditions = []
    for c in conditions:
        if any(isinstance(v, Var) and v.name in names for v in walk(c)):
            open_conditions.append(c)
        elif not evaluate_array(c, env, _no_load):
            return
    if not open_conditions and not names & set(inner):
        ranges = [range(_bound(a.lower, env), _bound(a.upper, env)) for a in axes]
        if all(ranges):
            yield from _grids([a.name for a in axes], ranges, env)
    else:
        yield from _lists(axes, 0, open_conditions, env, 1)


def _grids(names: list[str], ranges: list[range], env: Env) -> Iterator[tuple[Env, tuple[int, ...]]]:
    total = prod(len(r) for r in ranges)
    if total > _CHUNK:  # cut the first axis that has more than one value
        d = next(k for k, r in enumerate(ranges) if len(r) > 1)
        step = max(1, len(ranges[d]) * _CHUNK // total)
        for k in range(0, len(ranges[d]), step):
            yield from _grids(names, [*ranges[:d], ranges[d][k : k + step], *ranges[d + 1 :]], env)
        return
    grids = {}
    for d, (name, r) in enumerate(zip(names, ranges, strict=True)):
        grids[name] = np.arange(r.start, r.stop, dtype=np.int64).reshape(
            [-1 if k == d else 1 for k in range(len(names))]
        )
    yield {**env, **grids}, tuple(len(r) for r in ranges)


def _lists(
    axes: tuple[Axis, ...], depth: int, conditions: list[Expr], env: Env, count: int
) -> Iterator[tuple[Env, tuple[int, ...]]]:
    """Extend the `count` points known for the first `depth` axes by the others, dropping points early."""
    known = {a.name for a in axes[:depth]}
    ready = [
        c for c in conditions if not {v.name for v in walk(c) if isinstance(v, Var)} - known - env.keys()
    ]
    for c in ready:
        keep = np.broadcast_to(evaluate_array(c, env, _no_load), (count,))
        env = {n: v[keep] if n in known else v for n, v in env.items()}
        count = int(keep.sum())
    if count == 0:
        return
    if depth == len(axes):
        yield env, ((count,) if axes else ())
        return
    axis, rest = axes[depth], [c for c in conditions if c not in ready]
    lower = np.broadcast_to(evaluate_array(axis.lower, env, _no_load), (count,))
    lengths = np.maximum(np.broadcast_to(evaluate_array(axis.upper, env, _no_load), (count,)) - lower, 0)
    ends = np.cumsum(lengths)
    first = 0
    while first < count:  # as many points as their extensions fit into a chunk, at least one
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        block = lengths[first:last]
        if block.sum():
            parts: Env = {n: np.repeat(v[first:last], block) if n in known else v for n, v in env.items()}
            start = np.repeat(lower[first:last] - (ends[first:last] - block - before), block)
            parts[axis.name] = start + np.arange(block.sum(), dtype=np.int64)
            yield from _lists(axes, depth + 1, rest, parts, int(block.sum()))
        first = last


def _example(s: StatementDef, env: Env, bad: Array) -> str:
    """The first point of a statement at which `bad` holds."""
    arrays = {a.name: np.asarray(env[a.name]) for a in s.axes}
    shape = np.broadcast_shapes(bad.shape, *(v.shape for v in arrays.values()))
    at = np.unravel_index(int(np.argmax(np.broadcast_to(bad, shape))), shape) if shape else ()
    values = ", ".join(f"{n} = {np.broadcast_to(v, shape)[at]}" for n, v in arrays.items())
    return f"{s.name}[{values}]"
