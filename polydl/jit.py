"""`polydl.loops`: plain Python loops that run as compiled code.

@polydl.loops
def gemm(alpha: "f64", A: "f64[N, K]", B: "f64[K, M]", C: "f64[N, M]"):
    for i in range(N):
        for j in range(M):
            for k in range(K):
                C[i, j] += alpha * A[i, k] * B[k, j]

gemm(1.5, A, B, C)          # compiled at the first call; C is updated in place, as by the Python function
gemm.schedule()             # to be transformed; gemm.scheduled(s) is the program with that schedule
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import Artifact
from polydl.codegen.assemble import program_of
from polydl.codegen.llvm import compile_program
from polydl.dsl import Function, TensorRole, capture, interpret
from polydl.dsl.capture import ArrayParameter, ScalarParameter, SizeParameter
from polydl.dsl.loops import Captured
from polydl.dtypes import INDEX
from polydl.errors import InvalidInput, UsageError
from polydl.ir.expr import Expr, Var
from polydl.ir.interpret import evaluate
from polydl.ir.printer import print_expr
from polydl.ir.rewrite import free_variables
from polydl.ir.semantics import limits
from polydl.ir.simplify import linear
from polydl.poly.tree import members
from polydl.runtime import Module
from polydl.runtime.module import checked_threads
from polydl.scheduler.automatic import optimize
from polydl.scheduler.recipes import schedule_as_written
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target, parse
from polydl.vocabulary import Binding

__all__ = ["LoopProgram", "loops"]

Array = NDArray[Any]
_WRITTEN: Final = (TensorRole.OUTPUT, TensorRole.INOUT)


@overload
def loops(python: Callable[..., Any], /) -> LoopProgram: ...
@overload
def loops(
    *, target: str | Target = ..., threads: int | None = ..., reassociate: bool = ..., optimize: bool = ...
) -> Callable[[Callable[..., Any]], LoopProgram]: ...


def loops(
    python: Callable[..., Any] | None = None,
    /,
    *,
    target: str | Target = "native",
    threads: int | None = None,
    reassociate: bool = True,
    optimize: bool = False,
) -> LoopProgram | Callable[[Callable[..., Any]], LoopProgram]:
    """Capture a Python function of loops over arrays; calls of the result run compiled code.

    Parameters are annotated: `"f64[N, M + 1]"` an array, `"f64"` a scalar, `"size"` a size; sizes are also read off
    the shapes of the arrays. `reassociate`: whether sums and the like may be combined in another order than written.
    `optimize`: whether the loops may be run in another order, tiled for registers and caches (`polydl.optimize`).
    InvalidProgram, pointing at the source, where the function is no static control part.
    """
    machine = parse(target) if isinstance(target, str) else target
    if not isinstance(machine, Target):
        raise UsageError(f"{target!r} is no target", next='name one, as in target="native"')
    if threads is not None:
        checked_threads(threads)

    def decorate(function: Callable[..., Any]) -> LoopProgram:
        return LoopProgram(function, capture(function), machine, threads, reassociate, optimize=optimize)

    return decorate if python is None else decorate(python)


class LoopProgram:
    """A captured program: call it with numpy arrays, which it updates in place like the Python function would.

    Compiled once, at the first call, for all sizes. `function` is what was captured, `python` where it came from.
    """

    def __init__(
        self,
        python: Callable[..., Any],
        captured: Captured,
        target: Target,
        threads: int | None = None,
        reassociate: bool = True,
        schedule: Schedule | None = None,
        *,
        optimize: bool = False,
    ) -> None:
        functools.update_wrapper(self, python)
        self.python = python
        self.captured = captured
        self.target = target
        self.threads = threads
        self.reassociate = reassociate
        self.optimize = optimize
        self._schedule = schedule
        self._signature = inspect.signature(python)
        self._lock = threading.Lock()
        self._module: Module | None = None

    @property
    def function(self) -> Function:
        return self.captured.function

    def __repr__(self) -> str:
        return f"<polydl.loops {self.function.name}{self._signature}>"

    def schedule(self) -> Schedule:
        """The program in the order in which it is written, to be transformed."""
        return Schedule.of(self.function, reassociate=self.reassociate)

    def scheduled(self, schedule: Schedule) -> LoopProgram:
        """This program run in the order of `schedule`, which must be one of its function."""
        if not isinstance(schedule, Schedule):
            raise UsageError(f"{schedule!r} is no schedule", next="change the one of schedule()")
        kept = schedule.function.name == self.function.name and set(self._passed()) <= {
            t.name for t in schedule.function.tensors
        }
        if not kept:
            raise UsageError(f"the schedule is not one of {self.function.name}")
        return LoopProgram(self.python, self.captured, self.target, self.threads, self.reassociate, schedule)

    def compiled_schedule(self) -> Schedule:
        """The schedule that calls run: the one given, else the order as written with vectors and threads, or a better
        one where the program is to be optimised."""
        if self._schedule is None:
            make = optimize if self.optimize else schedule_as_written
            machine = self.target if self.threads is None else replace(self.target, cores=self.threads)
            self._schedule = make(self.function, machine, reassociate=self.reassociate)
        return self._schedule

    def compile(self) -> Module:
        """The compiled program (the same one at every call)."""
        with self._lock:
            if self._module is None:
                schedule = self.compiled_schedule()
                artifact: Artifact = compile_program(program_of(schedule), self.target)
                # Without a parallel loop others would only be woken, to wait: jacobi-1d took 0.30 ms instead of 0.21.
                alone = all(m.binding is not Binding.PARALLEL for m in members(schedule.tree))
                threads = min(1 if self.threads is None else self.threads, 1) if alone else self.threads
                self._module = Module(artifact, threads=threads, in_place=True)
            return self._module

    def __call__(self, *args: Any, **named: Any) -> None:
        """Run on arrays, scalars and sizes; arrays that the program assigns to are updated in place.

        InvalidInput for what does not fit the annotations, or where an updated array overlaps another one.
        """
        given = self._bind(args, named)
        module = self.compile()
        arrays, sizes = self._arguments(given)
        dense = {n: a if _usable(a) else np.array(a, order="C") for n, a in arrays.items()}
        _require_apart(arrays, [s.name for s in module.outputs])
        module.update([dense[s.name] for s in module.inputs], [dense[s.name] for s in module.outputs], sizes)
        for s in module.outputs:
            if dense[s.name] is not arrays[s.name]:
                arrays[s.name][...] = dense[s.name]

    def bind(self, *args: Any, **named: Any) -> Callable[[], None]:
        """A call with these arguments, checked once: the result runs on what the arrays hold then, without checks.

        InvalidInput as for a call, and where an array is not dense.
        """
        given = self._bind(args, named)
        module = self.compile()
        arrays, sizes = self._arguments(given)
        for name, array in arrays.items():
            if not _usable(array):
                raise InvalidInput(
                    f"{self.function.name}: '{name}' is not dense",
                    next=f"{name} = numpy.ascontiguousarray({name})",
                )
        _require_apart(arrays, [s.name for s in module.outputs])
        call = module.bind_update(
            [arrays[s.name] for s in module.inputs], [arrays[s.name] for s in module.outputs], sizes
        )

        def run() -> None:
            call()

        return run

    def interpret(self, *args: Any, **named: Any) -> dict[str, Array]:
        """The arrays that the program updates, by the reference interpreter; the arguments stay as they are."""
        arrays, sizes = self._arguments(self._bind(args, named))
        return interpret(self.function, arrays, sizes)

    # -- arguments -----------------------------------------------------------------------------------------------

    def _passed(self) -> list[str]:
        return [p.name for p in self.captured.parameters if not isinstance(p, SizeParameter)]

    def _bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self._signature.bind_partial(*args, **named).arguments
        except TypeError as error:
            raise InvalidInput(f"{self.function.name}: {error}", why=f"it is {self!r}") from None

    def _arguments(self, given: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, int]]:
        """Arrays by name (scalars as arrays of rank 0), and all sizes."""
        arrays: dict[str, Array] = {}
        sizes: dict[str, int] = {}
        origin: dict[str, str] = {}

        def learn(size: str, value: int, where: str) -> None:
            if sizes.setdefault(size, value) != value:
                raise InvalidInput(
                    f"{self.function.name}: size {size} is {sizes[size]} by {origin[size]} but {value} by {where}"
                )
            origin.setdefault(size, where)

        missing = []
        for p in self.captured.parameters:
            match p:
                case SizeParameter(name):
                    if name in given:
                        learn(name, _whole(self.function.name, name, given[name]), "its argument")
                case ArrayParameter(name, dtype, shape) if name in given:
                    array = given[name]
                    if (
                        not isinstance(array, np.ndarray)
                        or isinstance(array, np.ma.MaskedArray)
                        or array.dtype != dtype.numpy
                        or array.ndim != len(shape)
                    ):
                        found = (
                            f"{array.dtype}{list(array.shape)}"
                            if type(array) is np.ndarray
                            else type(array).__name__
                        )
                        raise InvalidInput(
                            f"{self.function.name}: {name} must be an array {dtype}[{', '.join(map(str, shape))}]",
                            why=f"it is {found}",
                        )
                    for d, (extent, entry) in enumerate(zip(array.shape, shape, strict=True)):
                        if isinstance(entry, str):
                            learn(entry, extent, f"axis {d} of {name}")
                        elif entry != extent:
                            raise InvalidInput(
                                f"{self.function.name}: axis {d} of {name} is {extent}, not {entry}"
                            )
                    arrays[name] = array
                case ScalarParameter(name, dtype) if name in given:
                    arrays[name] = _scalar(self.function.name, name, given[name], dtype.numpy)
                case _:
                    missing.append(p.name)
        self._learn_computed(sizes, origin)
        missing += [n for n in self.function.sizes if n not in sizes]
        if missing:
            raise InvalidInput(f"{self.function.name}: {', '.join(missing)} not given", why=f"it is {self!r}")
        self._require_conditions(sizes)
        return arrays, sizes

    def _learn_computed(self, sizes: dict[str, int], origin: Mapping[str, str]) -> None:
        """Solve the computed extents for sizes that nothing else says; InvalidInput where an extent is another one."""
        computed = [(size, extent) for size, extent in self.captured.computed if size in sizes]
        for _ in computed:  # a size that one extent says may leave another with one unknown
            for size, extent in computed:
                solved = _solved(extent, sizes[size], sizes)
                if solved is not None:
                    sizes.setdefault(*solved)
        for size, extent in computed:
            if free_variables(extent) <= sizes.keys():
                value = evaluate(extent, {n: np.int64(v) for n, v in sizes.items()}, _no_element)
                if value != sizes[size]:
                    raise InvalidInput(
                        f"{self.function.name}: {origin[size]} is {sizes[size]}, not {_text(extent)} = {value}"
                    )

    def _require_conditions(self, sizes: Mapping[str, int]) -> None:
        env = {n: np.int64(v) for n, v in sizes.items()}
        for c in self.function.conditions:
            if not evaluate(c, env, _no_element):
                raise InvalidInput(
                    f"{self.function.name}: the sizes {dict(sizes)} break an assumption of the program",
                    where=_text(c),
                )


def _text(e: Expr) -> str:
    return print_expr(e, dict.fromkeys(free_variables(e), (INDEX, 1)))


def _solved(extent: Expr, value: int, sizes: Mapping[str, int]) -> tuple[str, int] | None:
    """The one size that is missing in the affine `extent`, if it is one, such that this is `value` or just below."""
    missing = sorted(free_variables(extent) - sizes.keys())
    form = linear(extent, missing) if len(missing) == 1 else None
    if form is None:
        return None
    factor = sum(f for atom, f in form.terms if atom == Var(missing[0]))
    known = {n: np.int64(v) for n, v in sizes.items()} | {missing[0]: np.int64(0)}
    rest = int(evaluate(extent, known, _no_element))
    return (missing[0], (value - rest) // factor) if factor else None


def _no_element(buffer: str, index: tuple[Any, ...]) -> Any:
    raise InvalidInput(f"a condition on the sizes reads {buffer}")


def _usable(array: Array) -> bool:
    return bool(array.flags.c_contiguous and array.flags.aligned)


def _require_apart(arrays: Mapping[str, Array], written: Sequence[str]) -> None:
    """InvalidInput where an updated array shares memory with another: distinct arrays are compiled as such."""
    for name in written:
        if not arrays[name].flags.writeable:
            raise InvalidInput(
                f"'{name}' is updated in place, and it is read-only", next=f"{name} = {name}.copy()"
            )
        if _meets_itself(arrays[name]):
            raise InvalidInput(
                f"'{name}' is updated in place, and several of its elements may share their memory",
                next=f"{name} = {name}.copy()",
            )
        for other, array in arrays.items():
            if other != name and np.may_share_memory(arrays[name], array):
                raise InvalidInput(
                    f"'{name}' is updated in place and may share memory with '{other}'",
                    next="give separate arrays",
                )


def _meets_itself(array: Array) -> bool:
    """Whether elements may share memory: not where each stride is longer than all that the shorter ones reach."""
    reach = array.itemsize
    for stride, extent in sorted(
        (abs(s), e) for s, e in zip(array.strides, array.shape, strict=True) if e > 1
    ):
        if stride < reach:
            return array.size > 0
        reach += stride * (extent - 1)
    return False


def _whole(program: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidInput(f"{program}: size {name} must be an integer", why=f"it is {value!r}")
    least, most = limits(INDEX)
    if not least <= value <= most:
        raise InvalidInput(f"{program}: size {name} must be an integer of 64 bits", why="it is larger")
    return int(value)


def _scalar(program: str, name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """A scalar argument as an array of rank 0: Python numbers take the type, others must have it."""
    typed = isinstance(value, np.generic | np.ndarray)
    fits = (
        value.dtype == dtype and value.ndim == 0
        if typed
        else isinstance(value, int) or (isinstance(value, float) and dtype.kind == "f")
    )
    if not fits:
        raise InvalidInput(f"{program}: {name} must be a {dtype.name}", why=f"it is {value!r}")
    try:
        with np.errstate(over="raise"):
            return np.array(value, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise InvalidInput(f"{program}: {name} must be a {dtype.name}", why=str(error)) from None
