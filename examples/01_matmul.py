"""A matrix product in the DSL: say what is computed, let the recipe choose the loops, call it with numpy arrays.

python examples/01_matmul.py
"""

from __future__ import annotations

import numpy as np

from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, sum_over

M, N, K = 192, 256, 128

f = FunctionBuilder("matmul")
A, B = f.input("A", (M, K)), f.input("B", (K, N))
C = f.compute("C", {"i": M, "j": N}, lambda i, j: sum_over({"k": K}, lambda k: A[i, k] * B[k, j]))
matmul = compile_function(f.build(outputs=[C]))

generator = np.random.default_rng(0)
a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
c = matmul(a, b)

error = np.abs(c - a @ b).max()
print(f"{M}x{K} times {K}x{N}: largest difference from numpy {error:.1e}")
if error > 1e-3:
    raise SystemExit("wrong result")
