"""The steps of odd networks: convolutions, pools, products, movements, normalisations, each with what often follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from tests.networks.drafts import Draft, Impossible, maker

_WORK: Final = 20_000_000  # multiplications of a step
CHANNELS: Final = (1, 2, 3, 5, 7, 8, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 64, 65, 70)


def _window(d: Draft, spatial: Sequence[int], dilated: bool = True) -> dict[str, Any]:
    """Attributes of a window that fits; pads by number or by name."""
    r, rank = d.r, len(spatial)
    kernel = [r.choice((1, 1, 2, 3, 3, 3, 4, 5, 7)) if rank < 3 else r.choice((1, 2, 3)) for _ in spatial]
    if r.random() < 0.6:
        kernel = kernel[:1] * rank
    dilations = [r.choice((1, 1, 1, 2, 3)) if dilated else 1 for _ in spatial]
    strides = [r.choice((1, 1, 2, 3))] * rank if r.random() < 0.6 else [r.choice((1, 2, 3)) for _ in spatial]
    reach = [(k - 1) * g + 1 for k, g in zip(kernel, dilations, strict=True)]
    result: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if max(dilations) > 1:
        result["dilations"] = dilations
    kind = r.random()
    if kind < 0.15 and max(dilations) == 1:
        result["auto_pad"] = r.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
    elif kind < 0.55:
        result["pads"] = [(k - 1) // 2 for k in reach] * 2
    elif kind < 0.8:
        result["pads"] = [r.randrange(k) for k in kernel * 2]
    _fits(spatial, result)
    return result


def _fits(spatial: Sequence[int], a: Mapping[str, Any]) -> None:
    """Impossible where a window is larger than the padded extents."""
    rank = len(spatial)
    pads, dilations = a.get("pads", [0] * 2 * rank), a.get("dilations", [1] * rank)
    room = [e + p + q for e, p, q in zip(spatial, pads[:rank], pads[rank:], strict=True)]
    reach = [(k - 1) * g + 1 for k, g in zip(a["kernel_shape"], dilations, strict=True)]
    if "SAME" not in a.get("auto_pad", "") and any(e < k for e, k in zip(room, reach, strict=True)):
        raise Impossible("window")


@maker(30)
def conv(d: Draft, x: str) -> None:
    n, c, *spatial = _spatial(d, x)
    a = _window(d, spatial)
    divisors = [g for g in range(1, c + 1) if c % g == 0]
    group = d.r.choice((1, 1, 1, c, d.r.choice(divisors)))
    k = group * d.r.choice((1, 1, 2, 3)) if group > 1 and d.r.random() < 0.7 else d.r.choice(CHANNELS)
    k = -(-k // group) * group
    if np.prod(spatial) * n * k * (c // group) * np.prod(a["kernel_shape"]) > _WORK:
        raise Impossible("conv")
    inputs = [x, d.weight(k, c // group, *a["kernel_shape"])]
    if d.r.random() < 0.6:
        inputs.append(d.weight(k))
    y = d.add("Conv", inputs, group=group, **a)
    follow(d, y)


def follow(d: Draft, y: str) -> None:
    """What usually comes after a convolution: nothing, an activation, a normalisation, a residual, a gate."""
    match d.r.choice(("", "", "relu", "bn", "residual", "residual first", "gate")):
        case "relu":
            d.add(d.r.choice(("Relu", "HardSwish", "LeakyRelu", "Tanh")), [y])
        case "bn":
            normalised(d, y)
        case "residual":
            d.add("Relu", [d.add("Add", [y, _other(d, y)])])
        case "residual first":
            d.add("Add", [_other(d, y), d.add("Relu", [y])])
        case "gate":
            d.add("Mul", [y, d.add("Sigmoid", [y])])


def _other(d: Draft, y: str) -> str:
    """A value of the same shape: one that is there, or a convolution of one pixel."""
    others = [v for v in d.alike(d.shapes[y]) if v != y]
    if others and d.r.random() < 0.8:
        return d.r.choice(others)
    k = d.shapes[y][1]
    sources = [
        v for v, s in d.shapes.items() if len(s) > 2 and (s[0], *s[2:]) == (d.shapes[y][0], *d.shapes[y][2:])
    ]
    source = d.r.choice(sources)
    return d.add("Conv", [source, d.weight(k, d.shapes[source][1], *[1] * (len(d.shapes[y]) - 2))])


def _spatial(d: Draft, x: str) -> tuple[int, ...]:
    shape = d.shapes[x]
    if not 3 <= len(shape) <= 5:
        raise Impossible("spatial")
    return shape


@maker(2)
def normalised(d: Draft, x: str) -> None:
    _, c, *_ = _spatial(d, x)
    var = d.weight(c)
    d.weights[var] = 0.5 + np.abs(d.weights[var])
    d.add("BatchNormalization", [x, d.weight(c), d.weight(c), d.weight(c), var])


@maker(5)
def transposed(d: Draft, x: str) -> None:
    n, c, *spatial = _spatial(d, x)
    a = _window(d, spatial)
    if a.get("auto_pad") == "VALID":
        del a["auto_pad"]
    if "auto_pad" in a and any(k < s for k, s in zip(a["kernel_shape"], a["strides"], strict=True)):
        raise Impossible("smaller than its stride")
    group = d.r.choice((1, 1, 1, c, d.r.choice([g for g in range(1, c + 1) if c % g == 0])))
    m = d.r.choice((1, 2, 3, 8, 16, 17))
    if np.prod(spatial) * n * c * m * np.prod(a["kernel_shape"]) > _WORK:
        raise Impossible("transposed")
    if "auto_pad" not in a and d.r.random() < 0.3:
        a["output_padding"] = [d.r.randrange(s) for s in a["strides"]]
    inputs = [x, d.weight(c, m, *a["kernel_shape"])]
    if d.r.random() < 0.5:
        inputs.append(d.weight(m * group))
    follow(d, d.add("ConvTranspose", inputs, group=group, **a))


@maker(10)
def pool(d: Draft, x: str) -> None:
    _, _, *spatial = _spatial(d, x)
    op = d.r.choice(
        ("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool")
    )
    if op.startswith("Global"):
        y = d.add(op, [x])
        if d.r.random() < 0.5:
            d.add("Mul", [x, d.add("Sigmoid", [y])])
        return
    a = _window(d, spatial, dilated=op == "MaxPool")
    if "pads" in a:
        a["pads"] = [min(p, k - 1) for p, k in zip(a["pads"], a["kernel_shape"] * 2, strict=True)]
        _fits(spatial, a)
    if op != "LpPool" and d.r.random() < 0.4 and "auto_pad" not in a:
        a["ceil_mode"] = 1
    if op == "AveragePool" and d.r.random() < 0.5:
        a["count_include_pad"] = 1
    d.add(op, [x], **a)


@maker(6)
def unary(d: Draft, x: str) -> None:
    op = d.r.choice(("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu", "Softplus", "LeakyRelu", "Abs", "Erf", "Neg",
                     "Selu", "Softsign", "ThresholdedRelu", "HardSigmoid", "Mish"))  # fmt: skip
    d.add(op, [x])


@maker(3)
def gelu(d: Draft, x: str) -> None:
    half = d.weight()
    d.weights[half] = np.float32(0.5) * np.ones((), np.float32)
    scaled = d.add("Erf", [d.add("Mul", [x, half])])
    d.add("Mul", [d.add("Mul", [x, half]), d.add("Add", [scaled, half])])


@maker(6)
def scaled(d: Draft, x: str) -> None:
    """With a constant that is broadcast in some dimensions, or broadcasts the value."""
    shape = [e if d.r.random() < 0.5 else 1 for e in d.shapes[x]]
    shape = shape[d.r.randrange(len(shape)) :]
    inputs = [x, d.weight(*shape)]
    d.r.shuffle(inputs)
    d.add(d.r.choice(("Add", "Mul", "Sub", "Max", "Min")), inputs)


@maker(3)
def pair(d: Draft, x: str) -> None:
    d.add(d.r.choice(("Add", "Mul", "Sub", "Max", "Min")), [x, d.r.choice(d.alike(d.shapes[x]))])


@maker(6)
def joined(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    axis = d.r.choice([1, 1, d.r.randrange(len(shape))])
    if axis >= len(shape):
        raise Impossible("axis")
    rest = [
        v for v, s in d.shapes.items()
        if len(s) == len(shape) and all(a == b for k, (a, b) in enumerate(zip(s, shape, strict=True)) if k != axis)
    ]  # fmt: skip
    d.add("Concat", [x, *[d.r.choice(rest) for _ in range(d.r.choice((1, 1, 2)))]], axis=axis)


@maker(4)
def parted(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    axis = d.r.choice([1, 1, d.r.randrange(len(shape))])
    if axis >= len(shape) or shape[axis] < 2:
        raise Impossible("axis")
    at = d.r.randrange(1, shape[axis])
    y = d.add("Split", [x, d.number([at, shape[axis] - at])], outputs=2, axis=axis)
    if d.r.random() < 0.5:
        d.add("Relu", [y + "_1"])


@maker(4)
def sliced(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    axes = d.r.sample(range(len(shape)), min(len(shape), d.r.choice((1, 1, 2))))
    starts, ends, steps = [], [], []
    for a in axes:
        step = d.r.choice((1, 1, 2, 3, -1, -2))
        low = d.r.randrange(shape[a])
        high = d.r.randint(low + 1, shape[a])
        starts.append(low if step > 0 else high - 1)
        ends.append(high if step > 0 else low - 1 if low else -shape[a] - 1)
        steps.append(step)
    d.add("Slice", [x, *map(d.number, (starts, ends, axes, steps))])


@maker(4)
def padded(d: Draft, x: str) -> None:
    shape, r = d.shapes[x], d.r
    mode = r.choice(("constant", "constant", "edge", "reflect"))
    most = [min(3, e - 1) if mode == "reflect" else 3 for e in shape]
    amounts = [
        r.randint(0, m) if k % len(shape) > 1 or r.random() < 0.2 else 0 for k, m in enumerate(most * 2)
    ]
    if mode == "constant" and r.random() < 0.3:
        k = r.randrange(len(amounts))
        amounts[k] = -min(1, shape[k % len(shape)] - 1)
    d.add("Pad", [x, d.number(amounts)], mode=mode)


@maker(4)
def permuted(d: Draft, x: str) -> None:
    perm = list(range(len(d.shapes[x])))
    d.r.shuffle(perm)
    d.add("Transpose", [x], perm=perm)


@maker(4)
def reshaped(d: Draft, x: str) -> None:
    """Two dimensions made one, or one split in two."""
    shape = list(d.shapes[x])
    k = d.r.randrange(len(shape))
    if len(shape) > 2 and d.r.random() < 0.5:
        k = d.r.randrange(len(shape) - 1)
        shape[k : k + 2] = [shape[k] * shape[k + 1]]
    elif len(shape) < 5:
        factor = d.r.choice([f for f in range(1, shape[k] + 1) if shape[k] % f == 0])
        shape[k : k + 1] = [factor, shape[k] // factor]
    d.add("Reshape", [x, d.number(shape)])


@maker(3)
def resized(d: Draft, x: str) -> None:
    n, c, *spatial = _spatial(d, x)
    mode = d.r.choice(("nearest", "nearest", "linear", "cubic"))
    if len(spatial) != 2 and mode != "nearest":
        raise Impossible("rank")
    a: dict[str, Any] = {"mode": mode}
    a["coordinate_transformation_mode"] = d.r.choice(
        ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    )
    if mode == "nearest":
        a["nearest_mode"] = d.r.choice(("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"))
    # onnxruntime rounds the width that coordinates refer to, the standard does not
    rounded = a["coordinate_transformation_mode"] in ("align_corners", "pytorch_half_pixel")
    factors = (1, 2, 3) if rounded else (1, 2, 3, 0.5)
    if d.r.random() < 0.5:
        d.add("Resize", [x, "", d.number([1, 1, *[d.r.choice(factors) for _ in spatial]], np.float32)], **a)
    else:
        d.add("Resize", [x, "", "", d.number([n, c, *[d.r.randint(1, 2 * e) for e in spatial]])], **a)


@maker(5)
def softmax(d: Draft, x: str) -> None:
    axis = d.r.randrange(-len(d.shapes[x]), len(d.shapes[x]))
    d.add(d.r.choice(("Softmax", "Softmax", "LogSoftmax")), [x], axis=axis)


@maker(4)
def layer_norm(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    axis = d.r.randrange(len(shape))
    if np.prod(shape[axis:]) < 4:
        raise Impossible("noise")
    inputs = [x, d.weight(*shape[axis:])] + ([d.weight(*shape[axis:])] if d.r.random() < 0.5 else [])
    d.add("LayerNormalization", inputs, axis=axis)


@maker(2)
def instance_norm(d: Draft, x: str) -> None:
    _, c, *spatial = _spatial(d, x)
    if np.prod(spatial) < 4:
        raise Impossible("noise")
    d.add("InstanceNormalization", [x, d.weight(c), d.weight(c)])


@maker(6)
def reduced(d: Draft, x: str) -> None:
    rank = len(d.shapes[x])
    axes = d.r.sample(range(rank), d.r.randint(1, rank))
    op = d.r.choice(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceSumSquare",
                     "ReduceLogSumExp"))  # fmt: skip
    y = d.add(op, [x, d.number(axes)], keepdims=d.r.choice((1, 1, 0)))
    if len(d.shapes[y]) == rank and d.r.random() < 0.5:
        d.add(d.r.choice(("Add", "Sub", "Mul")), [x, y])


@maker(6)
def gemm(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    if len(shape) != 2:
        x = d.add("Flatten", [x], axis=d.r.choice((1, 1, 1, d.r.randrange(len(shape) + 1))))
    trans_a, trans_b = d.r.random() < 0.2, d.r.random() < 0.5
    m, k = d.shapes[x][::-1] if trans_a else d.shapes[x]
    n = d.r.choice(CHANNELS)
    if m * n * k > _WORK or k * n > 300_000:
        raise Impossible("gemm")
    inputs = [x, d.weight(*((n, k) if trans_b else (k, n)))]
    if d.r.random() < 0.7:
        inputs.append(d.weight(*d.r.choice(((), (1,), (n,), (1, n), (m, 1), (m, n), (1, 1)))))
    a = {"transA": int(trans_a), "transB": int(trans_b)}
    if d.r.random() < 0.3:
        a |= {"alpha": 0.5, "beta": 2.0}
    y = d.add("Gemm", inputs, **a)
    if d.r.random() < 0.4:
        d.add(d.r.choice(("Relu", "Softmax", "Sigmoid")), [y])


@maker(6)
def matmul(d: Draft, x: str) -> None:
    shape = d.shapes[x]
    k, n = shape[-1], d.r.choice(CHANNELS)
    batch = [d.r.choice((e, 1)) for e in shape[:-2]]
    right = d.r.choice(([], [1], batch, batch, batch[1:], [2, *shape[:-2]]))
    if np.prod(shape) * n > _WORK or np.prod(right) * k * n > 300_000:
        raise Impossible("matmul")
    match d.r.randrange(4):
        case 0:
            m = d.r.choice(CHANNELS)
            if len(shape) < 2:
                raise Impossible("matmul")
            y = d.add("MatMul", [d.weight(*right, m, shape[-2]), x])
        case 1 if len(shape) > 1:
            perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
            t = d.add("Transpose", [x], perm=perm)
            y = d.add("MatMul", d.r.choice(([x, t], [t, x])))
        case 2:
            y = d.add("MatMul", [x, d.weight(k)])
        case _:
            y = d.add("MatMul", [x, d.weight(*right, k, n)])
    if d.r.random() < 0.4 and d.shapes[y]:
        d.add("Add", [y, d.weight(d.shapes[y][-1])])


@maker(2)
def shuffled(d: Draft, x: str) -> None:
    """Channels of groups exchanged, as ShuffleNet does; or moved into pixels and back."""
    n, c, *spatial = _spatial(d, x)
    match d.r.randrange(3):
        case 0:
            g = d.r.choice([f for f in range(1, c + 1) if c % f == 0])
            y = d.add("Reshape", [x, d.number([n, g, c // g, *spatial])])
            y = d.add("Transpose", [y], perm=[0, 2, 1, *range(3, 3 + len(spatial))])
            d.add("Reshape", [y, d.number([n, c, *spatial])])
        case 1 if len(spatial) == 2 and c % 4 == 0:
            d.add("DepthToSpace", [x], blocksize=2, mode=d.r.choice(("DCR", "CRD")))
        case _ if len(spatial) == 2 and all(e % 2 == 0 for e in spatial):
            d.add("SpaceToDepth", [x], blocksize=2)
        case _:
            raise Impossible("blocks")


@maker(1)
def lrn(d: Draft, x: str) -> None:
    if len(d.shapes[x]) != 4:
        raise Impossible("rank")
    d.add("LRN", [x], size=d.r.choice((1, 3, 5)), alpha=0.01)


@maker(2)
def summed(d: Draft, x: str) -> None:
    axis = d.r.randrange(len(d.shapes[x]))
    d.add("CumSum", [x, d.number(axis)], exclusive=d.r.choice((0, 1)), reverse=d.r.choice((0, 1)))
