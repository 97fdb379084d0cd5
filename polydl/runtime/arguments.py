"""The arguments of a call: strict checks against the specifications, sizes from shapes, result arrays.

Nothing is cast. A type, rank or shape that does not fit is an `InvalidInput` that says what was given and what is
wanted; only memory order is repaired (an input that is not dense row-major is copied).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import Artifact, TensorSpec
from polydl.errors import InvalidInput, InvalidPackage, ResourceLimit
from polydl.runtime.memory import address

__all__ = ["Arguments", "describe"]


def describe(spec: TensorSpec) -> str:
    """`name: f32[1, 3, N]`."""
    return f"{spec.name}: {spec.dtype}[{', '.join(map(str, spec.shape))}]"


class Arguments:
    """The signature of an artifact, prepared for fast checks. `in_place`: outputs hold values before the call."""

    def __init__(self, artifact: Artifact, *, in_place: bool = False) -> None:
        self.inputs, self.outputs, self.sizes = artifact.inputs, artifact.outputs, artifact.sizes
        self._names: dict[Any, int] = {spec.name: index for index, spec in enumerate(self.inputs)}
        self._dtypes = tuple(spec.dtype.numpy for spec in self.inputs)
        self._shapes = tuple(spec.shape for spec in self.inputs)
        self._output_names = {spec.name: index for index, spec in enumerate(self.outputs)}
        self._output_dtypes = tuple(spec.dtype.numpy for spec in self.outputs)
        found = {entry for spec in self.inputs for entry in spec.shape if isinstance(entry, str)}
        used = {entry for spec in self.outputs for entry in spec.shape if isinstance(entry, str)} | set(
            self.sizes
        )
        if used - found and not in_place:
            raise InvalidPackage(f"no input has the sizes {', '.join(sorted(used - found))} in its shape")
        self._in_place = in_place
        self._static_sizes = not found
        symbolic = any(isinstance(entry, str) for spec in self.outputs for entry in spec.shape)
        self._static_shapes = None if symbolic else self.shapes({})

    # inputs

    def collect(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> Sequence[Any]:
        """Inputs in order from positional ones, one mapping, or names."""
        if self._in_place:
            raise InvalidInput("this code updates arrays in place", next="use Module.update")
        only = args[0] if len(args) == 1 else None
        if isinstance(only, Mapping):
            if named:
                raise InvalidInput(
                    "inputs are given both in a dict and by name", next="put all of them in the dict"
                )
            args, named = (), only
        if not named and len(args) == len(self.inputs):
            return args
        if len(args) > len(self.inputs):
            raise InvalidInput(f"{len(args)} inputs given, {len(self.inputs)} wanted", why=self._wanted())
        values: dict[int, Any] = dict(enumerate(args))
        for name, value in named.items():
            index = self._names.get(name)
            if index is None:
                close = difflib.get_close_matches(str(name), self._names, 1)
                hint = f"did you mean '{close[0]}'?" if close else ""
                raise InvalidInput(f"there is no input '{name}'", why=self._wanted(), next=hint)
            if index in values:
                raise InvalidInput(f"input '{name}' is given twice, by position and by name")
            values[index] = value
        missing = [spec.name for index, spec in enumerate(self.inputs) if index not in values]
        if missing:
            raise InvalidInput(
                f"missing input{'s' * (len(missing) > 1)}: {', '.join(missing)}", why=self._wanted()
            )
        return [values[index] for index in range(len(self.inputs))]

    def arrays(
        self, values: Sequence[Any], *, copy: bool = True
    ) -> tuple[list[NDArray[Any]], dict[str, int]]:
        """Checked dense arrays and the symbolic sizes. With `copy=False` what would need a copy is refused."""
        result: list[NDArray[Any]] = []
        for value, dtype, shape, spec in zip(values, self._dtypes, self._shapes, self.inputs, strict=True):
            if not (type(value) is np.ndarray and value.dtype is dtype and value.shape == shape
                    and value.flags.c_contiguous and value.flags.aligned):  # fmt: skip
                value = _checked(value, spec, copy)
            result.append(value)
        return result, {} if self._static_sizes else self._solve(result)

    def _solve(self, arrays: Sequence[NDArray[Any]]) -> dict[str, int]:
        """The symbolic sizes, from the shapes of the inputs."""
        values: dict[str, int] = {}
        first: dict[str, str] = {}
        for array, spec in zip(arrays, self.inputs, strict=True):
            for axis, (extent, entry) in enumerate(zip(array.shape, spec.shape, strict=True)):
                if not isinstance(entry, str):
                    continue
                here = f"axis {axis} of input '{spec.name}'"
                if values.setdefault(entry, extent) != extent:
                    raise InvalidInput(
                        f"size {entry} is {values[entry]} by {first[entry]} but {extent} by {here}"
                    )
                first.setdefault(entry, here)
        return values

    def _wanted(self) -> str:
        return f"wanted are ({'; '.join(map(describe, self.inputs))})"

    # outputs

    def shapes(self, sizes: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
        """The shapes of the outputs."""
        return tuple(
            tuple(sizes[e] if isinstance(e, str) else e for e in spec.shape) for spec in self.outputs
        )

    def results(
        self, out: Any, inputs: Sequence[NDArray[Any]], sizes: Mapping[str, int]
    ) -> list[NDArray[Any]]:
        """The arrays to write: new ones, or the caller's `out` (array, sequence or mapping) after strict checks."""
        shapes = self._static_shapes or self.shapes(sizes)
        if out is None:
            try:
                return [
                    np.empty(shape, dtype) for shape, dtype in zip(shapes, self._output_dtypes, strict=True)
                ]
            except (MemoryError, ValueError) as error:
                raise ResourceLimit(
                    "no room for the outputs", why=str(error), next="use smaller inputs"
                ) from error
        values = self._collect_out(out)
        busy = [(f"input '{spec.name}'", *_span(a)) for a, spec in zip(inputs, self.inputs, strict=True)]
        for value, spec, dtype, shape in zip(values, self.outputs, self._output_dtypes, shapes, strict=True):
            _check_out(value, spec, dtype, shape)
            start, end = _span(value)
            for other, other_start, other_end in busy:
                if max(start, other_start) < min(end, other_end):
                    raise InvalidInput(
                        f"out for '{spec.name}' shares memory with {other}", next="give separate arrays"
                    )
            busy.append((f"out for '{spec.name}'", start, end))
        return values

    def in_place(
        self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], sizes: Mapping[str, int]
    ) -> None:
        """Check arrays that are used where they lie: exact types and shapes under `sizes`, dense, apart if written."""
        missing = [n for n in self.sizes if n not in sizes]
        if missing or len(inputs) != len(self.inputs) or len(outputs) != len(self.outputs):
            raise InvalidInput("the sizes or the arrays of an update are not all given", why=self._wanted())
        values = [*inputs, *outputs]
        for value, spec in zip(values, (*self.inputs, *self.outputs), strict=True):
            shape = tuple(sizes[e] if isinstance(e, str) else e for e in spec.shape)
            _check_out(value, spec, spec.dtype.numpy, shape, written=spec in self.outputs)
        spans = [_span(v) for v in values]
        for k in range(len(inputs), len(values)):
            for other in range(k):
                if max(spans[k][0], spans[other][0]) < min(spans[k][1], spans[other][1]):
                    names = [spec.name for spec in (*self.inputs, *self.outputs)]
                    raise InvalidInput(
                        f"'{names[k]}' is updated in place and shares memory with '{names[other]}'",
                        next="give separate arrays",
                    )

    def _collect_out(self, out: Any) -> list[Any]:
        count = len(self.outputs)
        if isinstance(out, Mapping):
            if set(out) != set(self._output_names):
                raise InvalidInput(
                    f"out names {', '.join(map(repr, out)) or 'nothing'}",
                    why=f"the outputs are {', '.join(map(repr, self._output_names))}",
                )
            return [out[spec.name] for spec in self.outputs]
        values = list(out) if isinstance(out, (tuple, list)) else [out]
        if len(values) != count:
            raise InvalidInput(f"out holds {len(values)} arrays, the outputs are {count}")
        return values


def _span(array: NDArray[Any]) -> tuple[int, int]:
    """First and past-the-end address of a dense array; an empty one overlaps nothing."""
    start = address(array)
    return start, start + array.nbytes


def _checked(value: Any, spec: TensorSpec, copy: bool) -> NDArray[Any]:
    """`value` as a dense array of the type and rank of `spec`, extents checked where they are numbers."""
    array = _as_array(value, spec)
    where = f"input {describe(spec)}"
    wanted = spec.dtype.numpy
    if array.dtype != wanted:
        given = array.dtype.name if array.dtype.isnative else f"{array.dtype.name} of foreign byte order"
        raise InvalidInput(
            f"input '{spec.name}' has type {given}, not {wanted.name}", where=where,
            why="types are never cast silently",
            next=f"convert it yourself: array.astype('{wanted.name}')",
        )  # fmt: skip
    if array.ndim != len(spec.shape):
        raise InvalidInput(
            f"input '{spec.name}' has {array.ndim} axes (shape {array.shape}), not {len(spec.shape)}",
            where=where,
        )
    for axis, (extent, entry) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if not isinstance(entry, str) and extent != entry:
            raise InvalidInput(
                f"input '{spec.name}' has shape {array.shape}: axis {axis} is {extent}, not {entry}",
                where=where,
            )
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    if not copy:
        raise InvalidInput(
            f"input '{spec.name}' is not dense, row-major and aligned", where=where,
            why="a bound call reads the array in place", next="bind np.ascontiguousarray(array)",
        )  # fmt: skip
    return np.array(array, order="C", copy=True)


def _as_array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if not hasattr(value, "__dlpack__"):
        raise InvalidInput(
            f"input '{spec.name}' is a {type(value).__name__}, not an array", where=f"input {describe(spec)}",
            next="give a numpy array or an object with __dlpack__",
        )  # fmt: skip
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"input '{spec.name}' cannot be read through DLPack", where=f"input {describe(spec)}", why=str(error),
            next="move it to the CPU and detach it, or convert it to numpy",
        ) from error  # fmt: skip


def _check_out(
    value: Any, spec: TensorSpec, dtype: np.dtype[Any], shape: tuple[int, ...], *, written: bool = True
) -> None:
    where = f"{'output' if written else 'input'} {describe(spec)}"
    if not isinstance(value, np.ndarray):
        raise InvalidInput(
            f"out for '{spec.name}' is a {type(value).__name__}, not a numpy array", where=where
        )
    if value.dtype != dtype:
        raise InvalidInput(f"out for '{spec.name}' has type {value.dtype.str}, not {dtype.name}", where=where)
    if value.shape != shape:
        raise InvalidInput(f"out for '{spec.name}' has shape {value.shape}, not {shape}", where=where)
    if not (value.flags.c_contiguous and value.flags.aligned and (value.flags.writeable or not written)):
        raise InvalidInput(
            f"out for '{spec.name}' is not dense, row-major, aligned and writable", where=where
        )
