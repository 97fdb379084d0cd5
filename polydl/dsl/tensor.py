"""Tensors and their layouts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from polydl.dtypes import INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, ExprLike, Load, Var, as_expr, cast, substitute, walk
from polydl.ir.parser import parse_expr
from polydl.ir.printer import print_expr

__all__ = ["Layout", "Tensor", "TensorRole"]


class TensorRole(str, Enum):
    INPUT = "input"
    CONSTANT = "constant"  # an input whose contents are known at build time
    TEMPORARY = "temporary"
    OUTPUT = "output"
    INOUT = "inout"  # given by the caller and updated in place


@dataclass(frozen=True, slots=True, repr=False)
class Layout:
    """Where each element is stored: logical subscripts `dims` -> storage subscripts `index` in an array of `shape`.

    `NCHW16c` is `dims=(n,c,h,w), index=(n, c//16, h, w, c%16)`. Must be injective on the tensor's box. Elements of the
    storage that no logical element maps to are padding of undefined contents. As text: `n, c -> n, c // 16, c % 16 in
    4, 2, 16`; `Layout.parse(str(layout)) == layout`.
    """

    dims: tuple[str, ...]
    index: tuple[Expr, ...]
    shape: tuple[Expr, ...]

    def __str__(self) -> str:
        lists = (self.dims, map(print_expr, self.index), map(print_expr, self.shape))
        dims, index, shape = (", ".join(part) for part in lists)
        return " ".join(word for word in (dims, "->", index, "in", shape) if word)

    def __repr__(self) -> str:
        return f"Layout.parse({str(self)!r})"

    @staticmethod
    def parse(text: str) -> Layout:
        """The layout that `text` spells: `subscripts -> storage subscripts in storage shape`; or InvalidProgram."""
        match = _LAYOUT.fullmatch(text.strip())
        if match is None:
            raise InvalidProgram(
                f"'{text}' is not a layout", next="write 'd0, d1 -> d0, d1 // 8, d1 % 8 in 4, 2, 8'"
            )
        dims, index, shape = (_items(part) for part in match.groups())
        layout = Layout(tuple(dims), tuple(map(parse_expr, index)), tuple(map(parse_expr, shape)))
        if len(set(dims)) != len(dims) or not all(d.isidentifier() for d in dims):
            raise InvalidProgram(f"layout '{text}' does not begin with distinct names of subscripts")
        if len(index) != len(shape):
            raise InvalidProgram(
                f"layout '{text}' has {len(index)} storage subscripts for a shape of {len(shape)}"
            )
        unknown = {v.name for e in layout.index for v in walk(e) if isinstance(v, Var)} - set(dims)
        if unknown:
            raise InvalidProgram(f"layout '{text}' uses {', '.join(sorted(unknown))}, which is no subscript")
        return layout

    @staticmethod
    def row_major(shape: Sequence[ExprLike], lower: Sequence[ExprLike] | None = None) -> Layout:
        """The dense layout with the last subscript fastest; element `lower` comes first."""
        dims = tuple(f"d{i}" for i in range(len(shape)))
        first = [as_expr(x) for x in lower] if lower is not None else [as_expr(0)] * len(shape)
        index = tuple(_moved(Var(d), o) for d, o in zip(dims, first, strict=True))
        return Layout(dims, index, tuple(as_expr(s) for s in shape))

    @staticmethod
    def blocked(shape: Sequence[int], axis: int, block: int, lower: Sequence[int] | None = None) -> Layout:
        """Row-major, `axis` split into blocks whose elements become the last storage dimension (axis 1: NCHWc)."""
        low = tuple(lower) if lower is not None else (0,) * len(shape)
        dims = tuple(f"d{i}" for i in range(len(shape)))
        offsets = [_moved(Var(d), as_expr(o)) for d, o in zip(dims, low, strict=True)]
        inner = offsets[axis] % block
        outer = [*offsets]
        outer[axis] = offsets[axis] // block
        extents = [*shape]
        extents[axis] = -(-shape[axis] // block)
        return Layout(dims, (*outer, inner), tuple(as_expr(e) for e in (*extents, block)))

    def apply(self, index: Sequence[Expr]) -> tuple[Expr, ...]:
        """Storage subscripts of the element at logical `index`."""
        bindings = dict(zip(self.dims, index, strict=True))
        return tuple(substitute(e, bindings) for e in self.index)


def _moved(subscript: Expr, origin: Expr) -> Expr:
    """A subscript counted from `origin`."""
    if isinstance(origin, Const):
        first = int(origin.value)
        return subscript if not first else subscript - first if first > 0 else subscript + -first
    return subscript - origin


_LAYOUT: Final = re.compile(r"([^>]*)->(.*)\bin\b(.*)")


def _items(text: str) -> list[str]:
    """The parts of a list that commas outside of brackets separate."""
    parts, depth = [""], 0
    for ch in text:
        depth += (ch in "([") - (ch in ")]")
        if ch == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += ch
    return [p.strip() for p in parts] if text.strip() else []


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array; valid subscripts are `lower <= x < lower + shape` per dimension (lower defaults to zeros).

    `layout` None means row-major. Indexing with expressions gives a `Load`.
    """

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    role: TensorRole = TensorRole.TEMPORARY
    lower: tuple[Expr, ...] = ()
    layout: Layout | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def origin(self) -> tuple[Expr, ...]:
        """The smallest valid subscripts."""
        return self.lower or tuple(as_expr(0) for _ in self.shape)

    @property
    def storage(self) -> Layout:
        """The layout, row-major where none is set."""
        return self.layout if self.layout is not None else Layout.row_major(self.shape, self.origin)

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape as numbers; InvalidProgram where it is symbolic."""
        return numbers(self.shape, self.name)

    def __getitem__(self, index: ExprLike | tuple[ExprLike, ...]) -> Load:
        subscripts = index if isinstance(index, tuple) else (index,)
        if len(subscripts) != self.rank:
            raise InvalidProgram(
                f"tensor {self.name} has {self.rank} dimensions, it is given {len(subscripts)} subscripts"
            )
        return Load(self.name, tuple(self._subscript(i) for i in subscripts), self.dtype)

    def _subscript(self, value: ExprLike) -> Expr:
        """A subscript as an index: integers of data are converted, anything else is an error."""
        e = as_expr(value)
        if not e.dtype.is_integer:
            raise InvalidProgram(
                f"a subscript of {self.name} is a {e.dtype}", next="cast(I64, …) what is whole"
            )
        return cast(INDEX, e)

    def pack(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """`array` (logical shape) rearranged into this tensor's storage; padding is zero."""
        if tuple(array.shape) != self.extents:
            raise InvalidProgram(f"{self.name} has shape {self.extents}, the array has {tuple(array.shape)}")
        if self.layout is None:
            return np.asarray(array, dtype=self.dtype.numpy, order="C")
        from polydl.ir.interpret import evaluate_array

        origin = numbers(self.origin, self.name)
        grids = np.meshgrid(
            *(np.arange(o, o + s) for o, s in zip(origin, array.shape, strict=True)),
            indexing="ij",
            sparse=True,
        )
        env = dict(zip(self.layout.dims, grids, strict=True))
        storage = np.zeros(numbers(self.layout.shape, self.name), self.dtype.numpy)

        def load(buffer: str, index: tuple[Any, ...], where: Any) -> Any:
            raise InvalidProgram(f"the layout of {self.name} depends on the contents of {buffer}")

        where = tuple(np.broadcast_to(evaluate_array(e, env, load), array.shape) for e in self.layout.index)
        storage[where] = array
        return storage


def numbers(values: Sequence[Expr], name: str = "the tensor") -> tuple[int, ...]:
    """Constant expressions as Python integers."""
    result = []
    for v in values:
        if not isinstance(v, Const):
            raise InvalidProgram(
                f"{name} has a symbolic extent where a number is needed", next="fix the sizes first"
            )
        result.append(int(v.value))
    return tuple(result)
