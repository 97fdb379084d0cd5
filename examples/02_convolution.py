"""A 3x3 convolution with bias and Relu as one nest: halos by lower bounds, blocked layouts, packed weights.

python examples/02_convolution.py
"""

from __future__ import annotations

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, Layout, Tensor, sum_over
from polydl.ir import maximum
from polydl.scheduler import Inline, Schedule, default_schedule
from polydl.targets import native

C, K, H, W = 32, 64, 28, 28

# The input has a border of one pixel: its subscripts begin at -1. Channels are stored in blocks of 16 (NCHW16c):
# a layout says where an element lies; the program goes on speaking of x[c, h, w].
f = FunctionBuilder("convolution")
x = f.input(
    "x", (C, H + 2, W + 2), lower=(0, -1, -1), layout=Layout.blocked((C, H + 2, W + 2), 0, 16, (0, -1, -1))
)
weights = f.input("weights", (K, C, 3, 3), constant=True)
bias = f.input("bias", (K,), constant=True)
y = f.compute(
    "y",
    {"k": K, "h": H, "w": W},
    lambda k, h, w: sum_over(
        {"c": C, "r": 3, "s": 3}, lambda c, r, s: x[c, h + r - 1, w + s - 1] * weights[k, c, r, s]
    ),
)
biased = f.compute("biased", {"k": K, "h": H, "w": W}, lambda k, h, w: y[k, h, w] + bias[k])
z = f.compute(
    "z",
    {"k": K, "h": H, "w": W},
    lambda k, h, w: maximum(biased[k, h, w], 0),
    layout=Layout.blocked((K, H, W), 0, 16),
)
function = f.build(outputs=[z])
print(f"the input is stored by  {x.storage}")

# Three computations; element-wise ones can be inlined, which is a transformation like any other.
print("\nas written, after inlining the bias:")
print(poly.render(Schedule.of(function).apply(Inline("biased")).tree))

# The recipe is a list of public transformations; each has passed the judge. Print it, change it, replay it.
schedule = default_schedule(function, native())
print("\nthe recipe for this machine:")
for step in schedule.trace:
    print(f"  {step}")
print(poly.render(schedule.tree))
assert Schedule.replay(function, schedule.trace) == schedule

generator = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return generator.standard_normal(shape).astype(np.float32)


def stored(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """The array as compiled code takes it; the recipe has chosen a layout for the weights."""
    return schedule.function.tensor(tensor.name).pack(array)


image, w, b = numbers(C, H + 2, W + 2), numbers(K, C, 3, 3) / 17, numbers(K)
got = compile_function(schedule)(stored(x, image), stored(weights, w), stored(bias, b))

windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
wanted = np.maximum(np.einsum("chwrs,kcrs->khw", windows, w) + b[:, None, None], 0)
error = np.abs(got.transpose(0, 3, 1, 2).reshape(K, H, W) - wanted).max()  # [K/16, H, W, 16] to [K, H, W]
print(f"\n{C} channels to {K} on {H}x{W}: largest difference from numpy {error:.1e}")
if error > 1e-4:
    raise SystemExit("wrong result")
