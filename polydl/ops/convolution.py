"""Convolutions: one reduction over c and the window; padding and bias are separate computations around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

from polydl.dsl import FunctionBuilder, Reduce, Tensor, reduce_over
from polydl.ir.expr import Expr, and_, as_expr
from polydl.ops.common import pointwise, zero
from polydl.ops.registry import OpNode, operator
from polydl.ops.windows import Window, kernel_axes, padded, spatial_axes, windows

__all__ = ["convolution", "padding_read", "transposed_convolution"]

Named = Mapping[str, Expr]


@dataclass(frozen=True, slots=True)
class _Groups:
    """How output channels k and input channels c are numbered.

    Without groups they are plain axes. In groups both count within the group g; a group of one input channel has no
    axis c, and a depthwise convolution (one channel in, one out) has k alone.
    """

    count: int
    filters: int  # output channels per group
    depth: int  # input channels per group

    @property
    def depthwise(self) -> bool:
        return self.count > 1 and self.filters == 1 and self.depth == 1

    @property
    def outer(self) -> dict[str, int]:
        if self.count == 1 or self.depthwise:
            return {"k": self.filters * self.count}
        return {"g": self.count, "k": self.filters}

    @property
    def inner(self) -> dict[str, int]:
        return {"c": self.depth} if self.count == 1 or self.depth > 1 else {}

    def output(self, e: Named) -> Expr:
        """The output channel."""
        return e["g"] * self.filters + e["k"] if "g" in e else e["k"]

    def input(self, e: Named) -> Expr:
        """The input channel."""
        if self.count == 1:
            return e["c"]
        group = e.get("g", e["k"])
        return group * self.depth + e["c"] if "c" in e else group


def _group_count(node: OpNode, x: Tensor, w: Tensor) -> int:
    group = node.integer("group", 1)
    if x.rank != w.rank or x.rank < 3 or group < 1:
        raise node.invalid(
            f"input {list(x.extents)}, weight {list(w.extents)} and {group} groups do not fit together"
        )
    return group


def _groups(node: OpNode, x: Tensor, w: Tensor, filters: int, depth: int) -> _Groups:
    """The groups of a convolution with `filters` output and `depth` input channels in each."""
    group = node.integer("group", 1)
    if x.extents[1] != depth * group:
        raise node.invalid(
            f"input {list(x.extents)}, weight {list(w.extents)} and {group} groups do not fit together"
        )
    shape = node.integers("kernel_shape")
    if shape is not None and shape != w.extents[2:]:
        raise node.invalid(f"kernel_shape {shape} is not the weight's {w.extents[2:]}")
    return _Groups(group, filters, depth)


def _placed_sum(
    b: FunctionBuilder,
    name: str,
    outer: Mapping[str, int],
    inner: Mapping[str, int],
    term: Callable[[Named], Expr],
    into: Tensor,
    place: Callable[[Named], Sequence[Expr]],
    bias: Tensor | None,
    where: Callable[[Named], Expr] | None = None,
) -> None:
    """The sum of `term` over the axes `inner` at each point of `outer`, and the bias, at its place in `into`.

    All of `term` and `place` are functions of named axes. The sum has its own axes for subscripts, and its result is
    written once: a reduction into a place that is computed would go to memory with every term.
    """

    def at(o: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(place(dict(zip(outer, o, strict=True))))

    if inner:
        total = b.compute(
            name,
            outer,
            lambda *o: _sum(dict(zip(outer, o, strict=True)), inner, term, where),
        )
    b.compute(
        f"{into.name}_part",
        outer,
        lambda *o: _biased(total[o] if inner else zero(into.dtype), bias, at(o)),
        into=into,
        at=lambda *o: at(o),
    )


def _sum(
    outer: Named,
    inner: Mapping[str, int],
    term: Callable[[Named], Expr],
    where: Callable[[Named], Expr] | None,
) -> Reduce:
    """The sum of `term` over the axes `inner`, where `where` holds; both are functions of named axes."""

    def named(r: Sequence[Expr]) -> Named:
        return {**outer, **dict(zip(inner, r, strict=True))}

    condition = None if where is None else lambda *r: where(named(r))
    return reduce_over("add", inner, lambda *r: term(named(r)), where=condition)


def _biased(value: Expr, bias: Tensor | None, index: Sequence[Expr]) -> Expr:
    return value if bias is None else value + bias[index[1]]


def _check_bias(node: OpNode, bias: Tensor | None, filters: int) -> None:
    if bias is not None and bias.extents != (filters,):
        raise node.invalid(f"a bias {list(bias.extents)} for {filters} channels")


def _leaves_out_rows(view: Sequence[Window], group: int, depth: int) -> bool:
    """Whether the taps on rows of padding are no part of the sum: a condition on rows and taps.

    Those on columns of padding read the zeros there: register tiles are made of columns. So do all taps of depthwise
    convolutions, which are spelled out.
    """
    return len(view) > 1 and (group == 1 or depth > 1)


def padding_read(view: Sequence[Window], group: int, depth: int) -> tuple[tuple[int, int], ...]:
    """Zeros that a convolution reads before and after each spatial dimension, with `depth` input channels a group."""
    rows = (0, 0) if _leaves_out_rows(view, group, depth) else view[0].reach
    return (rows, *(v.reach for v in view[1:]))


@operator("Conv")
def convolution(b: FunctionBuilder, node: OpNode, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Axes n, (g,) k, spatial | c, window; see _Groups for g, k and c."""
    group = _group_count(node, x, w)
    groups = _groups(node, x, w, w.extents[0] // group, w.extents[1])
    if w.extents[0] % group:
        raise node.invalid(f"{w.extents[0]} filters in {group} groups")
    view = windows(node, x.extents[2:], w.extents[2:])
    source = padded(b, x, [(0, 0), (0, 0), *padding_read(view, group, w.extents[1])])
    spatial, taps = spatial_axes(len(view)), kernel_axes(len(view))
    outer = {"n": x.extents[0], **groups.outer, **{o: v.output for o, v in zip(spatial, view, strict=True)}}
    inner = {**groups.inner, **{r: v.kernel for r, v in zip(taps, view, strict=True)}}

    def term(e: Named) -> Expr:
        read = [v.position(e[o], e[r]) for v, o, r in zip(view, spatial, taps, strict=True)]
        weight = (groups.output(e), e.get("c", as_expr(0)), *(e[r] for r in taps))
        return source[(e["n"], groups.input(e), *read)] * w[weight]

    def inside(e: Named) -> Expr:
        row = view[0].position(e[spatial[0]], e[taps[0]])
        return and_(row >= 0, row < view[0].extent)

    where = inside if any(view[0].reach) and _leaves_out_rows(view, group, w.extents[1]) else None

    size = (x.extents[0], w.extents[0], *(v.output for v in view))
    _check_bias(node, bias, w.extents[0])
    if "g" in outer:
        y = b.temporary(node.output, size, x.dtype)
        _placed_sum(
            b, f"{node.output}_sum", outer, inner, term, y,
            lambda e: (e["n"], groups.output(e), *(e[o] for o in spatial)), bias, where,
        )  # fmt: skip
        return y
    y = b.compute(
        node.output if bias is None else f"{node.output}_sum",
        outer,
        lambda *o: _sum(dict(zip(outer, o, strict=True)), inner, term, where),
    )
    return y if bias is None else pointwise(b, node.output, size, lambda i: _biased(y[i], bias, i))


@dataclass(frozen=True, slots=True)
class _Phase:
    """Outputs `stride*a + first` of one dimension of a transposed convolution, `count` of them.

    They read taps `tap + step*t` at input positions `a + shift - back*t`, for t in 0 … taps - 1.
    """

    first: int
    stride: int
    count: int
    tap: int
    step: int
    taps: int
    shift: int
    back: int

    @property
    def reads(self) -> tuple[int, int]:
        """Least and greatest input position."""
        return self.shift - self.back * (self.taps - 1), self.shift + self.count - 1


def _phases(v: Window) -> list[_Phase]:
    """The residues of the output modulo the stride: each is a convolution with stride 1 and every so-many-th tap."""
    result = []
    step = v.stride // gcd(v.stride, v.dilation)
    for p in range(min(v.stride, v.output)):
        count = -(-(v.output - p) // v.stride)
        tap = next(
            (r for r in range(min(step, v.kernel)) if (p + v.before - r * v.dilation) % v.stride == 0),
            v.kernel,
        )
        taps = -(-(v.kernel - tap) // step)
        shift = (p + v.before - tap * v.dilation) // v.stride
        result.append(_Phase(p, v.stride, count, tap, step, taps, shift, step * v.dilation // v.stride))
    return result


@operator("ConvTranspose")
def transposed_convolution(
    b: FunctionBuilder, node: OpNode, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    """One convolution per residue of the output positions modulo the strides: every output is written once."""
    group = _group_count(node, x, w)
    groups = _groups(node, x, w, w.extents[1], w.extents[0] // group)
    view = _transposed_windows(node, x.extents[2:], w.extents[2:])
    phases = [_phases(v) for v in view]
    reads = [[p.reads for p in ps if p.taps] for ps in phases]
    halo = [
        (max([0, *(-lo for lo, _ in r)]), max([0, *(hi - v.extent + 1 for _, hi in r)]))
        for r, v in zip(reads, view, strict=True)
    ]
    source = padded(b, x, [(0, 0), (0, 0), *halo])
    spatial, taps = spatial_axes(len(view)), kernel_axes(len(view))
    size = (x.extents[0], groups.filters * group, *(v.output for v in view))
    _check_bias(node, bias, size[1])
    y = b.temporary(node.output, size, x.dtype)
    for box in product(*phases):
        outer = {"n": x.extents[0], **groups.outer, **{o: p.count for o, p in zip(spatial, box, strict=True)}}
        inner = {**groups.inner, **{r: p.taps for r, p in zip(taps, box, strict=True)}}

        def place(e: Named, box: tuple[_Phase, ...] = box) -> tuple[Expr, ...]:
            where = [
                e[o] * p.stride + p.first if p.stride > 1 else e[o] for o, p in zip(spatial, box, strict=True)
            ]
            return (e["n"], groups.output(e), *where)

        def term(e: Named, box: tuple[_Phase, ...] = box) -> Expr:
            read = [e[o] + p.shift - e[r] * p.back for o, r, p in zip(spatial, taps, box, strict=True)]
            tap = [e[r] * p.step + p.tap for r, p in zip(taps, box, strict=True)]
            channel = groups.input(e)
            filter_ = as_expr(0) if groups.depthwise else e["k"]
            return source[(e["n"], channel, *read)] * w[(channel, filter_, *tap)]

        reached = all(p.taps for p in box)
        _placed_sum(b, f"{y.name}_phase", outer, inner if reached else {}, term, y, place, bias)
    return y


def _transposed_windows(node: OpNode, extents: Sequence[int], kernel: Sequence[int]) -> tuple[Window, ...]:
    rank = len(extents)

    def numbers(name: str, length: int, default: int) -> tuple[int, ...]:
        given = node.integers(name)
        if given is not None and len(given) != length:
            raise node.invalid(f"{name} {given} should have {length} numbers")
        return given if given is not None else (default,) * length

    strides, dilations = numbers("strides", rank, 1), numbers("dilations", rank, 1)
    extra, pads = numbers("output_padding", rank, 0), numbers("pads", 2 * rank, 0)
    wanted, auto = node.integers("output_shape"), node.string("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER") or min((*strides, *dilations)) < 1:
        raise node.invalid(f"auto_pad {auto}, strides {strides}, dilations {dilations}")
    result = []
    for d, (n, k, s, dilation) in enumerate(zip(extents, kernel, strides, dilations, strict=True)):
        full = s * (n - 1) + extra[d] + (k - 1) * dilation + 1
        if wanted is not None or auto.startswith("SAME"):
            output = wanted[len(wanted) - rank + d] if wanted is not None else n * s
            total = full - output
            half = max(total, 0) // 2
            before = max(total, 0) - half if auto == "SAME_LOWER" else half
            after = total - before
        else:
            before, after = (0, 0) if auto == "VALID" else (pads[d], pads[d + rank])
            output = full - before - after
        if output <= 0:
            raise node.invalid(f"spatial dimension {d} of the result would have {output} elements")
        result.append(Window(n, k, s, dilation, before, after, output))
    return tuple(result)
