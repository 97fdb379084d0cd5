"""The reference interpreters: what an expression and a kernel mean, executed on numpy arrays.

They follow the contracts of `expr` and `kernel` to the letter and are the oracle of every back end: subscripts are
checked, masked lanes are not touched, and a fresh `Alloc` is filled with a pattern (nan, or an improbable integer) that
makes reading an undefined element visible. `PARALLEL` loops run in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

import numpy as np
import numpy.typing as npt

from polydl.dtypes import BOOL, DType
from polydl.errors import InvalidProgram, OutOfBounds
from polydl.ir.expr import (
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
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Let,
    Prefetch,
    Role,
    Stmt,
    Store,
)
from polydl.ir.printer import print_expr, print_stmt
from polydl.ir.semantics import apply_binary, apply_call, apply_cast, apply_unary, constant

__all__ = ["UNDEFINED_BYTE", "evaluate", "evaluate_array", "interpret"]

Value = Any  # a numpy scalar, a vector of lanes, or an array of points
Array = npt.NDArray[Any]
LoadElement = Callable[[str, tuple[Value, ...]], Value]
LoadPoints = Callable[[str, tuple[Value, ...], "Array | None"], Value]

UNDEFINED_BYTE: Final = 0xA5  # every byte of an undefined integer

_REDUCE: Final[dict[str, Callable[[Array], Value]]] = {
    "add": np.add.reduce, "mul": np.multiply.reduce, "min": np.minimum.reduce, "max": np.maximum.reduce,
    "and": np.logical_and.reduce, "or": np.logical_or.reduce,
}  # fmt: skip


def evaluate(e: Expr, env: Mapping[str, Any], load: LoadElement) -> Value:
    """The value of `e` as a numpy scalar (or as an array of `e.lanes` values where it is a vector).

    `env` gives every variable its number, `load(buffer, subscripts)` an element for subscripts that are all scalars.
    Only the chosen side of a `Select` is evaluated, lane by lane where the condition is a vector.
    """
    return _evaluate(e, env, load, None)


def _evaluate(e: Expr, env: Mapping[str, Any], load: LoadElement, active: Array | None) -> Value:
    """As `evaluate`; only the lanes in `active` (None: all) are needed, and nothing is loaded for the others."""
    match e:
        case Const():
            return constant(e)
        case Var(name, dtype):
            return _typed(_lookup(env, name), dtype)
        case Binary(op, a, b):
            return _scalar(apply_binary(op, _evaluate(a, env, load, active), _evaluate(b, env, load, active)))
        case Load():
            return _load(e, env, load, active)
        case Unary(op, x):
            return _scalar(apply_unary(op, _evaluate(x, env, load, active)))
        case Call(function, operands):
            return _scalar(apply_call(function, *[_evaluate(x, env, load, active) for x in operands]))
        case Select(c, a, b):
            cond = _evaluate(c, env, load, active)
            if np.ndim(cond) == 0:
                chosen = _evaluate(a if cond else b, env, load, active)
                return np.broadcast_to(chosen, (e.lanes,)) if np.ndim(chosen) == 0 and e.lanes > 1 else chosen
            yes, no = (cond, ~cond) if active is None else (cond & active, ~cond & active)
            return np.where(cond, _evaluate(a, env, load, yes), _evaluate(b, env, load, no))
        case Cast(dtype, x):
            return _scalar(apply_cast(dtype, _evaluate(x, env, load, active)))
        case Ramp(base, stride, lanes):
            start = _evaluate(base, env, load, active)
            with np.errstate(over="ignore"):
                return (
                    start + np.arange(lanes, dtype=start.dtype) * start.dtype.type(stride)
                    if lanes > 1
                    else start
                )
        case Broadcast(x, lanes):
            value = _evaluate(x, env, load, active)
            return np.broadcast_to(value, (lanes,)) if lanes > 1 else value
        case ReduceLanes(op, x):
            return _reduce(op, _evaluate(x, env, load, None))
        case _:
            assert_never(e)


def evaluate_array(e: Expr, env: Mapping[str, Any], load: LoadPoints, where: Array | None = None) -> Value:
    """`e` at many points at once: `env` gives variables as numpy arrays that broadcast against each other.

    `load(buffer, subscripts, where)` returns an array of elements; subscripts where the mask `where` (None: nowhere)
    is false must not be read and may have any value there, as they belong to the side that a `Select` has not chosen.
    `e` must be scalar at each point (`lanes` 1).
    """
    match e:
        case Const():
            return constant(e)
        case Var(name, dtype):
            return _typed(_lookup(env, name), dtype)
        case Load(buffer, index, dtype, mask):
            subscripts = tuple([evaluate_array(i, env, load, where) for i in index])
            if mask is None:
                return load(buffer, subscripts, where)
            active = np.asarray(evaluate_array(mask, env, load, where))
            found = load(buffer, subscripts, active if where is None else active & where)
            return np.where(active, found, dtype.numpy.type(0))
        case Unary(op, x):
            return apply_unary(op, evaluate_array(x, env, load, where))
        case Binary(op, a, b):
            return apply_binary(op, evaluate_array(a, env, load, where), evaluate_array(b, env, load, where))
        case Call(function, operands):
            return apply_call(function, *[evaluate_array(x, env, load, where) for x in operands])
        case Select(c, a, b):
            cond = np.asarray(evaluate_array(c, env, load, where))
            yes, no = (cond, ~cond) if where is None else (cond & where, ~cond & where)
            return np.where(cond, evaluate_array(a, env, load, yes), evaluate_array(b, env, load, no))
        case Cast(dtype, x):
            return apply_cast(dtype, evaluate_array(x, env, load, where))
        case Ramp() | Broadcast() | ReduceLanes():
            raise InvalidProgram("a vector stands where one value per point is needed", where=print_expr(e))
        case _:
            assert_never(e)


def interpret(kernel: Kernel, buffers: Mapping[str, Array], sizes: Mapping[str, int]) -> int:
    """Runs `kernel` on arrays (written in place) and returns 0, or the code of the first failed `Check`.

    `buffers` has an array of the declared shape and type for every parameter, `sizes` a number for every size.
    OutOfBounds for a subscript outside its buffer, InvalidProgram for arrays that do not fit the parameters.
    """
    env: dict[str, Any] = {name: np.int64(_lookup(sizes, name)) for name in kernel.sizes}
    machine = _Machine(env)
    for p in kernel.params:
        array = buffers.get(p.buffer.name)
        shape = machine.shape(p.buffer)
        if array is None or array.dtype != p.buffer.dtype.numpy or array.shape != shape:
            found = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise InvalidProgram(
                f"buffer '{p.buffer.name}' of kernel '{kernel.name}' needs an array {p.buffer.dtype}{list(shape)}",
                why=f"it got {found}",
            )
        machine.arrays[p.buffer.name] = array
        if p.role in (Role.INPUT, Role.CONSTANT):
            machine.read_only.add(p.buffer.name)
    try:
        machine.run(kernel.body)
    except _CheckFailed as failure:
        return failure.code
    return 0


class _CheckFailed(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Machine:
    """The state of a running kernel."""

    def __init__(self, env: dict[str, Any]) -> None:
        self.env = env
        self.arrays: dict[str, Array] = {}
        self.read_only: set[str] = set()

    def shape(self, b: Buffer) -> tuple[int, ...]:
        return tuple([int(self.value(x)) for x in b.shape])

    def value(self, e: Expr) -> Value:
        return evaluate(e, self.env, self.element)

    def element(self, buffer: str, index: tuple[Value, ...]) -> Value:
        array = self._array(buffer)
        return array[self._checked(buffer, array, index)]

    def _array(self, buffer: str) -> Array:
        if buffer not in self.arrays:
            raise InvalidProgram(f"buffer '{buffer}' does not exist here")
        return self.arrays[buffer]

    def _checked(self, buffer: str, array: Array, index: tuple[Value, ...]) -> tuple[int, ...]:
        subscripts = tuple([int(i) for i in index])
        if len(subscripts) != array.ndim:
            raise InvalidProgram(f"buffer '{buffer}' has rank {array.ndim}, not {len(subscripts)}")
        if any(not 0 <= i < n for i, n in zip(subscripts, array.shape, strict=True)):
            raise OutOfBounds(
                f"subscript {list(subscripts)} is outside buffer '{buffer}' of shape {list(array.shape)}",
                where=", ".join(f"{k} = {v}" for k, v in self.env.items() if np.ndim(v) == 0),
            )
        return subscripts

    def run(self, s: Stmt) -> None:
        match s:
            case Block(stmts):
                for inner in stmts:
                    self.run(inner)
            case For(var=var, lower=lower, upper=upper, body=body, step=step):
                for i in range(int(self.value(lower)), int(self.value(upper)), step):
                    self.env[var] = np.int64(i)
                    self.run(body)
                self.env.pop(var, None)
            case If(cond, then, otherwise):
                if self.value(cond):
                    self.run(then)
                elif otherwise is not None:
                    self.run(otherwise)
            case Let(var, value, body):
                self.env[var] = self.value(value)
                self.run(body)
                del self.env[var]
            case Store():
                self._store(s)
            case Alloc(buffer, body):
                self.arrays[buffer.name] = _undefined(self.shape(buffer), buffer.dtype)
                self.run(body)
                del self.arrays[buffer.name]
            case Check(cond, code):
                if not self.value(cond):
                    raise _CheckFailed(code)
            case Barrier() | Prefetch():
                pass
            case _:
                assert_never(s)

    def _store(self, s: Store) -> None:
        if s.buffer in self.read_only:
            raise InvalidProgram(f"buffer '{s.buffer}' is read-only", where=print_stmt(s))
        array = self._array(s.buffer)
        value = self.value(s.value)
        index = [self.value(i) for i in s.index]
        mask = True if s.mask is None else self.value(s.mask)
        lanes = max([np.size(x) for x in index], default=1)
        if max(np.size(value), np.size(mask)) > lanes:
            raise InvalidProgram("a vector is stored to one element", where=print_stmt(s))
        for subscripts, element, active in _by_lane(lanes, index, value, mask):
            if active:
                array[self._checked(s.buffer, array, subscripts)] = element


def _by_lane(
    lanes: int, index: list[Value], value: Value, mask: Value
) -> list[tuple[tuple[Value, ...], Value, Value]]:
    """Subscripts, value and mask of every lane."""
    if lanes == 1:
        return [(tuple(index), value, mask)]
    columns = [np.broadcast_to(x, (lanes,)) for x in (*index, value, mask)]
    return [(tuple([c[i] for c in columns[:-2]]), columns[-2][i], columns[-1][i]) for i in range(lanes)]


def _load(e: Load, env: Mapping[str, Any], load: LoadElement, active: Array | None) -> Value:
    index = [_evaluate(i, env, load, active) for i in e.index]
    mask = True if e.mask is None else _evaluate(e.mask, env, load, active)
    lanes = max([np.size(i) for i in index], default=1)
    if np.size(mask) > lanes:
        raise InvalidProgram("a vector masks the load of one element", where=print_expr(e))
    zero = e.dtype.numpy.type(0)
    if lanes == 1:
        needed = mask and (active is None or active.any())
        return _typed(load(e.buffer, tuple(index)) if needed else zero, e.dtype)
    if active is not None:
        mask = mask & active
    loaded = [load(e.buffer, at) if on else zero for at, _, on in _by_lane(lanes, index, zero, mask)]
    return np.array(loaded, dtype=e.dtype.numpy)


def _typed(value: Any, dtype: DType) -> Value:
    if isinstance(value, np.ndarray):
        return value.astype(dtype.numpy, copy=False)
    return value if isinstance(value, np.generic) and value.dtype == dtype.numpy else dtype.numpy.type(value)


def _scalar(value: Value) -> Value:
    """A numpy scalar instead of an array of rank 0."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _reduce(op: str, value: Array) -> Value:
    if op not in _REDUCE:
        raise InvalidProgram(f"lanes cannot be combined by '{op}'")
    with np.errstate(all="ignore"):
        return value.dtype.type(_REDUCE[op](value))


def _lookup(env: Mapping[str, Any], name: str) -> Any:
    if name not in env:
        raise InvalidProgram(f"variable '{name}' has no value here")
    return env[name]


def _undefined(shape: tuple[int, ...], dtype: DType) -> Array:
    if dtype.is_float:
        return np.full(shape, np.nan, dtype.numpy)
    if dtype == BOOL:
        return np.ones(shape, dtype.numpy)
    return (
        np.full(int(np.prod(shape)) * dtype.bytes, UNDEFINED_BYTE, np.uint8).view(dtype.numpy).reshape(shape)
    )
