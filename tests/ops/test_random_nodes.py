"""Random attributes and shapes against onnxruntime and numpy: what the suite's few cases leave out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.ops.cases import Array, check_equal, compare_with_onnxruntime, run_node

few = settings(max_examples=60)


def values(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def numbers(draw: Any, count: int, low: int, high: int) -> list[int]:
    result: list[int] = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    return result


@few
@given(st.data())
def test_convolution(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    group, per_group, depth = data.draw(
        st.sampled_from([(1, 3, 2), (1, 1, 1), (2, 2, 3), (3, 2, 1), (4, 1, 1), (2, 1, 2)])
    )
    kernel, strides = numbers(data.draw, rank, 1, 3), numbers(data.draw, rank, 1, 3)
    attributes: dict[str, Any] = {"group": group, "strides": strides}
    auto = data.draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    extents = numbers(data.draw, rank, 5, 8)
    if auto == "NOTSET":
        attributes |= {
            "pads": numbers(data.draw, 2 * rank, 0, 3),
            "dilations": numbers(data.draw, rank, 1, 2),
        }
    else:
        attributes["auto_pad"] = auto
    x, w = values((2, group * depth, *extents)), values((group * per_group, depth, *kernel), 1)
    bias = values((group * per_group,), 2) if data.draw(st.booleans()) else None
    compare_with_onnxruntime("Conv", [x, w] if bias is None else [x, w, bias], attributes, 11)


@few
@given(st.data())
def test_transposed_convolution(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2))
    group, per_group, depth = data.draw(
        st.sampled_from([(1, 3, 2), (2, 2, 3), (3, 1, 1), (2, 1, 2), (2, 3, 1)])
    )
    kernel, strides = numbers(data.draw, rank, 1, 4), numbers(data.draw, rank, 1, 4)
    dilations = numbers(data.draw, rank, 1, 3)
    extra = [data.draw(st.integers(0, s - 1)) for s in strides]
    pads = numbers(data.draw, 2 * rank, 0, 2)
    extents = numbers(data.draw, rank, 2, 5)
    sizes = [
        s * (n - 1) + o + (k - 1) * d + 1 - pads[i] - pads[i + rank]
        for i, (s, n, o, k, d) in enumerate(zip(strides, extents, extra, kernel, dilations, strict=True))
    ]
    assume(min(sizes) > 0)
    attributes = {
        "group": group,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "output_padding": extra,
    }
    inputs = [values((2, group * depth, *extents)), values((group * depth, per_group, *kernel), 1)]
    if data.draw(st.booleans()):
        inputs.append(values((group * per_group,), 2))
    compare_with_onnxruntime("ConvTranspose", inputs, attributes, 11)


@few
@given(st.data())
def test_pools(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    op = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel, strides = numbers(data.draw, rank, 1, 4), numbers(data.draw, rank, 1, 3)
    pads = [data.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    attributes["dilations"] = dilations = numbers(data.draw, rank, 1, 2)
    attributes["ceil_mode"] = data.draw(st.integers(0, 1))
    extents = numbers(data.draw, rank, 4, 8)
    assume(all((k - 1) * d < n for k, d, n in zip(kernel, dilations, extents, strict=True)))
    outputs = 1
    if op == "AveragePool":
        attributes["count_include_pad"] = 0 if attributes["ceil_mode"] else data.draw(st.integers(0, 1))
        if attributes["ceil_mode"]:
            attributes["dilations"] = [1] * rank  # onnxruntime counts differently where both meet
    elif data.draw(st.booleans()):
        outputs, attributes["storage_order"] = 2, data.draw(st.integers(0, 1))
    compare_with_onnxruntime(op, [values((2, 3, *extents))], attributes, 19, outputs)


@few
@given(st.data())
def test_resize(data: st.DataObject) -> None:
    x = values((1, 2, *numbers(data.draw, 2, 2, 7)))
    mode = data.draw(st.sampled_from(["nearest", "linear", "cubic"]))
    coordinates = data.draw(
        st.sampled_from(
            ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
        )
    )
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = data.draw(
            st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
        )
    if mode == "cubic":
        attributes |= {
            "cubic_coeff_a": data.draw(st.sampled_from([-0.75, -0.5])),
            "exclude_outside": data.draw(st.integers(0, 1)),
        }
    sizes = np.array([1, 2, *numbers(data.draw, 2, 2, 15)], np.int64)
    assume(not (mode == "nearest" and _ties(attributes, x.shape, sizes)))
    compare_with_onnxruntime("Resize", [x, None, None, sizes], attributes, 19)


def _ties(attributes: dict[str, Any], shape: tuple[int, ...], sizes: Array) -> bool:
    """Could onnxruntime's float32 arithmetic fall on the other side of a rounding boundary?"""
    for n, m in zip(shape, sizes.tolist(), strict=True):
        o = np.arange(m)
        match attributes["coordinate_transformation_mode"]:
            case "asymmetric":
                at = o * (n / m)
            case "align_corners":
                at = o * ((n - 1) / (m - 1)) if m > 1 else o * 0.0
            case _:
                at = (o + 0.5) * (n / m) - 0.5
        exact = n % m == 0 or m % n == 0 or n == m
        boundary = at if attributes["nearest_mode"] in ("floor", "ceil") else at + 0.5
        near = np.abs(boundary - np.round(boundary)) < 1e-6
        if near.any() and not (exact and attributes["coordinate_transformation_mode"] != "align_corners"):
            return True
    return False


@few
@given(st.data())
def test_slice(data: st.DataObject) -> None:
    x = values(tuple(numbers(data.draw, 3, 1, 7)))
    count = data.draw(st.integers(1, 3))
    axes = data.draw(st.permutations(range(3)))[:count]
    starts, ends = numbers(data.draw, count, -9, 9), numbers(data.draw, count, -9, 9)
    steps = data.draw(st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=count, max_size=count))
    index: list[slice] = [slice(None)] * 3
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        low = -1 - x.shape[axis] if step < 0 else 0  # an end before the first element, in Python's counting
        stop = end if end >= 0 else max(end + x.shape[axis], -1)
        index[axis] = slice(start, low if stop < 0 else stop, step)
    expected = x[tuple(index)]
    inputs = [x, *(np.array(v, np.int64) for v in (starts, ends, axes, steps))]
    (result,) = run_node("Slice", inputs, [("y", x.dtype, expected.shape)], {}, 13)
    check_equal(result, expected, 0, 0)


@few
@given(st.data())
def test_reshape(data: st.DataObject) -> None:
    factors = data.draw(st.lists(st.sampled_from([1, 2, 3, 5]), max_size=5))

    def grouped(name: str) -> tuple[int, ...]:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(factors)), max_size=4), label=name))
        return tuple(
            int(np.prod(factors[a:b], dtype=int))
            for a, b in zip([0, *cuts], [*cuts, len(factors)], strict=True)
        )

    source = grouped("source")
    factors = data.draw(st.permutations(factors))
    target = grouped("target")
    x = np.arange(int(np.prod(source)), dtype=np.int32).reshape(source)
    (result,) = run_node("Reshape", [x, np.array(target, np.int64)], [("y", x.dtype, target)], {}, 14)
    check_equal(result, x.reshape(target), 0, 0)


@few
@given(st.data())
def test_pad(data: st.DataObject) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    pads = numbers(data.draw, 4, -1, 9)
    (a, b), (c, d) = (pads[0], pads[2]), (pads[1], pads[3])
    kept = x[max(0, -a) : 4 - max(0, -b), max(0, -c) : 6 - max(0, -d)]
    widths = [(max(0, a), max(0, b)), (max(0, c), max(0, d))]
    kwargs: Any = {"constant_values": 7} if mode == "constant" else {}
    expected = np.pad(kept, widths, mode=mode, **kwargs)
    inputs = [x, np.array(pads, np.int64), np.array(7, np.float32)]
    (result,) = run_node("Pad", inputs, [("y", x.dtype, expected.shape)], {"mode": mode}, 19)
    check_equal(result, expected, 0, 0)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("bij,bjk", [(2, 3, 4), (2, 4, 5)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 6)]),
        ("ii->i", [(4, 4)]),
        ("ii", [(4, 4)]),
        ("ij->", [(3, 4)]),
        ("i,j->ji", [(3,), (4,)]),
        ("b...,b->...", [(3, 2, 4), (3,)]),
        ("aij,ajk,ak->i", [(2, 3, 4), (2, 4, 5), (2, 5)]),
        ("ba,cb", [(3, 2), (4, 3)]),
        ("...a->a...", [(2, 3, 4)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    operands = [values(s, k) for k, s in enumerate(shapes)]
    expected = np.asarray(np.einsum(equation, *operands, optimize=False))
    (result,) = run_node(
        "Einsum", operands, [("y", expected.dtype, expected.shape)], {"equation": equation}, 12
    )
    check_equal(result, expected, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4,)),
        ((4,), (4, 3)),
        ((2, 4), (4,)),
        ((5, 2, 4), (4,)),
        ((4,), (5, 4, 2)),
        ((1, 3, 2, 4), (5, 1, 4, 2)),
    ],
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    compare_with_onnxruntime("MatMul", [values(left), values(right, 1)], {}, 13)


@pytest.mark.parametrize(
    "source",
    ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"],
)
@pytest.mark.parametrize(
    "target",
    ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"],
)
def test_cast_of_every_pair(source: str, target: str) -> None:
    x = np.array([0, 1, 2.75, 100]).astype(source)
    expected = x.astype(target)
    (result,) = run_node("Cast", [x], [("y", np.dtype(target), x.shape)], {}, 13)
    check_equal(result, expected, 0, 0)


@few
@given(st.data())
def test_scatter_elements(data: st.DataObject) -> None:
    shape = tuple(numbers(data.draw, 2, 1, 5))
    axis = data.draw(st.integers(0, 1))
    count = [data.draw(st.integers(1, n)) for n in shape]
    count[axis] = data.draw(st.integers(1, 6))
    picks = data.draw(
        st.lists(
            st.integers(-shape[axis], shape[axis] - 1),
            min_size=count[0] * count[1],
            max_size=count[0] * count[1],
        )
    )
    reduction = data.draw(st.sampled_from(["none", "add", "mul", "max", "min"]))
    x, indices, updates = values(shape), np.array(picks, np.int64).reshape(count), values(tuple(count), 1)
    expected = x.copy()
    for place in np.ndindex(*count):
        at = tuple(indices[place] if d == axis else p for d, p in enumerate(place))
        old, new = expected[at], updates[place]
        expected[at] = {
            "none": new,
            "add": old + new,
            "mul": old * new,
            "max": max(old, new),
            "min": min(old, new),
        }[reduction]
    attributes = {"axis": axis, "reduction": reduction}
    (result,) = run_node("ScatterElements", [x, indices, updates], [("y", x.dtype, x.shape)], attributes, 18)
    check_equal(result, expected, 1e-5, 1e-6)
