"""Random small networks, drawn by hypothesis: chains and diamonds of what the passes, groups and layouts look for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.graph.build import model, node

_UNARY = ("Relu", "Sigmoid", "Abs", "Identity", "Neg", "HardSwish", "Tanh")


class _Net:
    def __init__(self, draw: Any, seed: int) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def constant(self, array: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(-0.7, 0.7, shape).astype(np.float32))

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(op, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def step(self, x: str) -> str:
        """One more operator on `x`, of rank 4 (batch, channels, height, width)."""
        n, c, h, w = shape = self.shapes[x]
        match self.pick(("conv", "depthwise", "bn", "unary", "scale", "shift", "residual", "pool", "pad",
            "concat", "gate",
                         "transpose", "reshape", "slice", "split", "grouped", "deconv", "clip", "cse")):  # fmt: skip
            case "conv":
                k, r, s = self.pick((1, 3, 4, 5, 8)), self.pick((1, 2, 3)), self.pick((1, 2))
                if h < r or w < r:
                    return x
                p = self.pick((0, r - 1, r // 2))
                inputs = [x, self.weights(k, c, r, r)] + (
                    [self.weights(k)] if self.draw(st.booleans()) else []
                )
                out = (n, k, (h + 2 * p - r) // s + 1, (w + 2 * p - r) // s + 1)
                return self.add("Conv", inputs, out, pads=[p] * 4, strides=[s, s])
            case "grouped":
                if c % 2:
                    return x
                k = self.pick((2, 4, 8))
                return self.add("Conv", [x, self.weights(k, c // 2, 1, 1)], (n, k, h, w), group=2)
            case "depthwise":
                out = self.add(
                    "Conv", [x, self.weights(c, 1, 3, 3), self.weights(c)], shape, group=c, pads=[1] * 4
                )
                return self.add("Relu", [out], shape)
            case "deconv":
                if h > 8:
                    return x
                k = self.pick((3, 4))
                out = (n, k, 2 * h, 2 * w)
                return self.add("ConvTranspose", [x, self.weights(c, k, 2, 2)], out, strides=[2, 2])
            case "bn":
                variance = self.constant(self.rng.uniform(0.5, 2, c).astype(np.float32))
                return self.add(
                    "BatchNormalization",
                    [x, self.weights(c), self.weights(c), self.weights(c), variance],
                    shape,
                )
            case "unary":
                return self.add(self.pick(_UNARY), [x], shape)
            case "clip":
                return self.add(
                    "Clip", [x, self.constant(np.float32(-0.5)), self.constant(np.float32(0.5))], shape
                )
            case "scale":
                return self.add(
                    self.pick(("Mul", "Div")),
                    [x, self.constant(self.rng.uniform(0.5, 2, (c, 1, 1)).astype(np.float32))],
                    shape,
                )
            case "shift":
                other = self.weights(*self.pick(((c, 1, 1), (1,), (1, c, 1, 1), (1, 1, w))))
                return self.add(self.pick(("Add", "Sub")), self.pick(([x, other], [other, x])), shape)
            case "residual":
                others = [v for v, s in self.shapes.items() if s == shape]
                return self.add(self.pick(("Add", "Mul", "Max")), [x, self.pick(others)], shape)
            case "gate":
                return self.add("Mul", [x, self.add("Sigmoid", [x], shape)], shape)
            case "cse":
                return self.add("Sub", [self.add("Relu", [x], shape), self.add("Relu", [x], shape)], shape)
            case "pool":
                if h < 2 or w < 2:
                    return x
                op = self.pick(("MaxPool", "AveragePool", "GlobalAveragePool"))
                if op.startswith("Global"):
                    pooled = self.add(op, [x], (n, c, 1, 1))
                    return self.add("Mul", [x, pooled], shape)
                return self.add(op, [x], (n, c, h // 2, w // 2), kernel_shape=[2, 2], strides=[2, 2])
            case "pad":
                amounts = self.pick(([0, 0, 1, 0, 0, 0, 1, 2], [0] * 8, [0, 1, 0, 0, 0, 0, 0, 0]))
                new = tuple(s + a + b for s, a, b in zip(shape, amounts[:4], amounts[4:]))
                return self.add("Pad", [x, self.constant(np.array(amounts))], new)
            case "concat":
                others = [v for v, s in self.shapes.items() if (s[0], *s[2:]) == (n, h, w) and s[1] + c <= 16]
                if not others:
                    return x
                other = self.pick(others)
                return self.add("Concat", [x, other], (n, c + self.shapes[other][1], h, w), axis=1)
            case "transpose":
                perm = self.pick(([0, 1, 3, 2], [0, 2, 1, 3], [0, 1, 2, 3]))
                return self.add("Transpose", [x], tuple(shape[p] for p in perm), perm=perm)
            case "reshape":
                new = self.pick(((n, c, w, h), (n, c * h, w, 1), (n, 1, c, h * w)))
                return self.add("Reshape", [x, self.constant(np.array(new))], new)
            case "slice":
                if c < 2:
                    return x
                bounds = [self.constant(np.array([v])) for v in (1, c, 1)]
                return self.add("Slice", [x, *bounds], (n, c - 1, h, w))
            case _:  # split
                if c < 2:
                    return x
                names = [f"v{len(self.nodes)}a", f"v{len(self.nodes)}b"]
                sizes = (c // 2, c - c // 2)
                self.nodes.append(node("Split", [x, self.constant(np.array(sizes))], names, axis=1))
                self.shapes |= {m: (n, s, h, w) for m, s in zip(names, sizes)}
                return self.pick(names)


@st.composite
def networks(draw: Any, most: int = 10) -> onnx.ModelProto:
    """A network of up to `most` steps on one image; sometimes with a second output."""
    net = _Net(draw, draw(st.integers(0, 1 << 16)))
    batch = draw(st.sampled_from((1, 1, 1, 2)))
    net.shapes["x"] = (
        batch,
        draw(st.sampled_from((1, 3, 4))),
        draw(st.integers(3, 7)),
        draw(st.integers(3, 7)),
    )
    inputs = {"x": net.shapes["x"]}
    last = net.add("Abs", ["x"], inputs["x"])
    for _ in range(draw(st.integers(1, most))):
        last = net.step(draw(st.sampled_from((last, last, last, *net.shapes))))
        if max(net.shapes[last]) > 40:
            break
    outputs = list(dict.fromkeys([last, draw(st.sampled_from((last, *net.shapes)))]))
    outputs = [o for o in outputs if o != "x"] or ["v0"]
    return model(net.nodes, inputs, outputs, net.constants)
