"""Operators that only move data: every subscript is quasi-affine."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from polydl.dsl import FunctionBuilder, Tensor
from polydl.ir.expr import Expr, as_expr
from polydl.ops.common import (
    at,
    check_broadcast,
    normal_axes,
    normal_axis,
    pointwise,
    present,
    scalar_input,
    strides,
    zero,
)
from polydl.ops.pieces import copy_pieces, segments
from polydl.ops.registry import OpNode, operator

__all__ = [
    "concat", "depth_to_space", "expand", "pad", "reshape", "slice_", "space_to_depth", "split", "tile", "transpose",
]  # fmt: skip


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze", static=(1,))
def reshape(b: FunctionBuilder, node: OpNode, x: Tensor, shape: Tensor | None = None) -> Tensor:
    """The node's output shape says all: elements keep their row-major order."""
    source, target = x.extents, node.shape
    if prod(source) != prod(target):
        raise node.invalid(f"{list(source)} cannot become {list(target)}")
    groups = _matching_groups(source, target)

    def body(i: tuple[Expr, ...]) -> Expr:
        index: list[Expr] = []
        for old, new in groups:
            index += _regroup([source[d] for d in old], [i[d] for d in new], [target[d] for d in new])
        return x[tuple(index)]

    return pointwise(b, node.output, target, body)


def _matching_groups(source: Sequence[int], target: Sequence[int]) -> list[tuple[range, range]]:
    """Runs of dimensions with equal products, as short as possible, left to right."""
    groups: list[tuple[range, range]] = []
    s = t = 0
    while s < len(source) or t < len(target):
        s0, t0 = s, t
        if 0 in source:  # no element at all: any subscripts do
            return [(range(len(source)), range(len(target)))]
        left = right = 1
        while True:
            if left == right and (s, t) != (s0, t0):
                break
            if t == len(target) or (left < right and s < len(source)):
                left *= source[s]
                s += 1
            elif s == len(source) or right < left:
                right *= target[t]
                t += 1
            else:
                left, right = source[s], target[t]
                s, t = s + 1, t + 1
        groups.append((range(s0, s), range(t0, t)))
    return groups


def _regroup(old: Sequence[int], index: Sequence[Expr], new: Sequence[int]) -> list[Expr]:
    """Subscripts within dimensions `old` of the element at `index` of dimensions `new`, in row-major order."""
    if len(old) == 1 and len(new) == 1:
        return [index[0]]
    flat: Expr | None = None
    for i, n, stride in zip(index, new, strides(new), strict=True):
        if n == 1:
            continue
        term = i if stride == 1 else i * stride
        flat = term if flat is None else flat + term
    position = flat if flat is not None else as_expr(0)
    result: list[Expr] = []
    leading = True
    for n, stride in zip(old, strides(old), strict=True):
        if n == 1:
            result.append(as_expr(0))
            continue
        quotient = position if stride == 1 else position // stride
        result.append(quotient if leading else quotient % n)
        leading = False
    return result


@operator("Transpose")
def transpose(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    order = node.integers("perm") or tuple(reversed(range(x.rank)))
    if sorted(order) != list(range(x.rank)):
        raise node.invalid(f"perm {order} is not a permutation of {x.rank} dimensions")
    place = [order.index(d) for d in range(x.rank)]
    shape = [x.extents[d] for d in order]
    return pointwise(b, node.output, shape, lambda i: x[tuple(i[p] for p in place)])


@operator("Expand", static=(1,))
def expand(b: FunctionBuilder, node: OpNode, x: Tensor, shape: Tensor | None = None) -> Tensor:
    check_broadcast(node, x, node.shape)
    return pointwise(b, node.output, node.shape, lambda i: at(x, i))


@operator("Tile", static=(1,))
def tile(b: FunctionBuilder, node: OpNode, x: Tensor, repeats: Tensor | None = None) -> Tensor:
    if x.rank != len(node.shape):
        raise node.invalid(f"{list(x.extents)} cannot repeat to {list(node.shape)}")

    def body(i: tuple[Expr, ...]) -> Expr:
        return x[tuple(v if n == m else v % n for v, n, m in zip(i, x.extents, node.shape, strict=True))]

    return pointwise(b, node.output, node.shape, body)


@operator("Concat")
def concat(b: FunctionBuilder, node: OpNode, *inputs: Tensor | None) -> Tensor:
    parts = [present(node, x, k) for k, x in enumerate(inputs)]
    if not parts:
        raise node.invalid("no inputs")
    axis = normal_axis(node, node.integer("axis", 1), parts[0].rank)
    shape = list(parts[0].extents)
    for x in parts:
        if x.rank != len(shape) or any(
            n != m for d, (n, m) in enumerate(zip(x.extents, shape, strict=True)) if d != axis
        ):
            raise node.invalid(f"{list(x.extents)} beside {shape} along axis {axis}")
    shape[axis] = sum(x.extents[axis] for x in parts)
    into = b.temporary(node.output, shape, parts[0].dtype)
    offset = 0
    for x in parts:
        b.compute(
            f"{into.name}_part",
            {f"i{d}": n for d, n in enumerate(x.extents)},
            lambda *i, x=x: x[i],
            into=into,
            at=lambda *i, offset=offset: tuple(
                v + offset if d == axis and offset else v for d, v in enumerate(i)
            ),
        )
        offset += x.extents[axis]
    return into


@operator("Split", static=(1,))
def split(
    b: FunctionBuilder, node: OpNode, x: Tensor, sizes: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    axis = normal_axis(node, node.integer("axis", 0), x.rank)
    extent, count = x.extents[axis], len(node.outputs)
    parts = node.integers("split") if node.opset < 13 else node.static_ints(1, sizes)
    if parts is None:
        if node.integer("num_outputs", count) != count:
            raise node.invalid(
                f"num_outputs is {node.integer('num_outputs', count)}, there are {count} outputs"
            )
        size = -(-extent // node.integer("num_outputs", count))
        parts = tuple(max(0, min(size, extent - k * size)) for k in range(count))
    if sum(parts) != extent or len(parts) != count:
        raise node.invalid(f"parts {list(parts)} do not make up {extent}")
    results: list[Tensor | None] = []
    offset = 0
    for (name, _, _), size in zip(node.outputs, parts, strict=True):
        shape = [size if d == axis else n for d, n in enumerate(x.extents)]
        if name:
            results.append(_shifted(b, name, x, shape, axis, offset))
        else:
            results.append(None)
        offset += size
    return tuple(results)


def _shifted(
    b: FunctionBuilder, name: str, x: Tensor, shape: Sequence[int], axis: int, offset: int
) -> Tensor:
    return pointwise(
        b, name, shape, lambda i: x[tuple(v + offset if d == axis and offset else v for d, v in enumerate(i))]
    )


@operator("Slice", static=(1, 2, 3, 4))
def slice_(
    b: FunctionBuilder,
    node: OpNode,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    if node.opset < 10:
        first, last, which, by = node.integers("starts"), node.integers("ends"), node.integers("axes"), None
    else:
        first, last = node.static_ints(1, starts), node.static_ints(2, ends)
        which, by = node.static_ints(3, axes), node.static_ints(4, steps)
    if first is None or last is None:
        raise node.invalid("starts and ends are missing")
    which = normal_axes(node, which if which is not None else range(len(first)), x.rank)
    by = by if by is not None else (1,) * len(first)
    if not len(first) == len(last) == len(which) == len(by) or 0 in by:
        raise node.invalid(f"starts {first}, ends {last}, axes {which} and steps {by} do not fit together")
    ranges = [range(n) for n in x.extents]
    for d, low, high, step in zip(which, first, last, by, strict=True):
        ranges[d] = range(*slice(low, _python_end(high, step, x.extents[d]), step).indices(x.extents[d]))

    def body(i: tuple[Expr, ...]) -> Expr:
        index = []
        for v, r in zip(i, ranges, strict=True):
            scaled = v if r.step == 1 else v * r.step
            index.append(scaled + r.start if r.start else scaled)
        return x[tuple(index)]

    return pointwise(b, node.output, [len(r) for r in ranges], body)


def _python_end(end: int, step: int, extent: int) -> int | None:
    """ONNX clamps an end below -extent to "before the first"; Python's slices agree except that None must say so."""
    return None if step < 0 and end < -extent else end


@operator("Pad", static=(1, 3))
def pad(
    b: FunctionBuilder,
    node: OpNode,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    """Positive amounts add, negative ones remove; reflect, edge and wrap refer to what is left after removing."""
    mode = node.string("mode", "constant")
    if node.opset < 11:
        amounts, which = node.integers("pads"), None
        fill: Expr = as_expr(node.number("value", 0.0), x.dtype)
    else:
        amounts, which = node.static_ints(1, pads), node.static_ints(3, axes)
        fill = zero(x.dtype) if value is None else scalar_input(node, 2, value)
    dims = normal_axes(node, which if which is not None else range(x.rank), x.rank)
    if amounts is None or len(amounts) != 2 * len(dims):
        raise node.invalid(f"pads {amounts} do not fit {len(dims)} axes")
    before, after = [0] * x.rank, [0] * x.rank
    for k, d in enumerate(dims):
        before[d], after[d] = amounts[k], amounts[k + len(dims)]
    maps = [
        segments(_pad_map(node, mode, n, lo, hi)) for n, lo, hi in zip(x.extents, before, after, strict=True)
    ]
    shape = [n + lo + hi for n, lo, hi in zip(x.extents, before, after, strict=True)]
    into = b.temporary(node.output, shape, x.dtype)
    return copy_pieces(b, into, x, maps, fill if mode == "constant" else None)


def _pad_map(node: OpNode, mode: str, extent: int, before: int, after: int) -> list[int | None]:
    first, kept = max(0, -before), extent - max(0, -before) - max(0, -after)
    if kept < 0 or (kept == 0 and mode != "constant" and before + after + extent > 0):
        raise node.invalid(f"pads ({before}, {after}) do not fit extent {extent}")
    positions = range(-max(0, before), kept + max(0, after))
    match mode:
        case "constant":
            return [first + p if 0 <= p < kept else None for p in positions]
        case "edge":
            return [first + min(max(p, 0), kept - 1) for p in positions]
        case "wrap":
            return [first + p % kept for p in positions]
        case "reflect":
            period = max(2 * kept - 2, 1)
            return [first + min(p % period, period - p % period) if kept > 1 else first for p in positions]
        case _:
            raise node.refuse("an unknown mode", attribute="mode")


@operator("DepthToSpace")
def depth_to_space(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    s, mode = node.integer("blocksize", 0), node.string("mode", "DCR")
    n, c, h, w = _image(node, x, s)
    if c % (s * s) or mode not in ("DCR", "CRD"):
        raise node.invalid(f"blocksize {s}, mode {mode} and {c} channels do not fit together")
    depth = c // (s * s)

    def body(i: tuple[Expr, ...]) -> Expr:
        block = i[2] % s * s + i[3] % s
        channel = block * depth + i[1] if mode == "DCR" else i[1] * (s * s) + block
        return x[i[0], channel, i[2] // s, i[3] // s]

    return pointwise(b, node.output, (n, depth, h * s, w * s), body)


@operator("SpaceToDepth")
def space_to_depth(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    s, mode = node.integer("blocksize", 0), node.string("mode", "DCR")
    n, c, h, w = _image(node, x, s)
    if h % s or w % s or mode not in ("DCR", "CRD"):
        raise node.invalid(f"blocksize {s} and mode {mode} do not fit {h} x {w}")

    def body(i: tuple[Expr, ...]) -> Expr:
        block, channel = (i[1] // c, i[1] % c) if mode == "DCR" else (i[1] % (s * s), i[1] // (s * s))
        return x[i[0], channel, i[2] * s + block // s, i[3] * s + block % s]

    return pointwise(b, node.output, (n, c * s * s, h // s, w // s), body)


def _image(node: OpNode, x: Tensor, blocksize: int) -> tuple[int, int, int, int]:
    if x.rank != 4 or blocksize <= 0:
        raise node.invalid(f"an input of {x.rank} dimensions and blocksize {blocksize}")
    n, c, h, w = x.extents
    return n, c, h, w
