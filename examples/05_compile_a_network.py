"""A trained network from its ONNX file to machine code, called with numpy arrays, saved, and loaded again.

python examples/05_compile_a_network.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import polydl

MODELS = Path(__file__).resolve().parents[1] / "models" / "digits"

# The pipeline: import, optimise the graph, fuse operators into groups, schedule each group, generate code.
compiled = polydl.compile_model(MODELS / "digits.onnx")
print("groups, each one loop nest:")
for group in compiled.groups:
    print(f"  {group.name:<12} {', '.join(group.nodes):<28} {group.flops / 1e3:8.0f} kFLOP")

# How the one with most arithmetic runs, and why it may.
heavy = max(compiled.groups, key=lambda g: g.flops)
print(f"\nthe schedule of {heavy.name}:\n{heavy.schedule}\n\nits proof:\n{heavy.proof}\n")

with np.load(MODELS / "holdout.npz") as held_out:  # samples that training never saw
    images, labels = held_out["images"], held_out["labels"]

with compiled.module() as module:
    for spec in (*module.inputs, *module.outputs):
        print(f"{spec.name}: {spec.dtype}{list(spec.shape)}")
    named = np.array([module(image[None]).argmax() for image in images])
print(f"{(named == labels).sum()} of {len(labels)} digits named right")

# A package needs no compiler where it is loaded.
with tempfile.TemporaryDirectory() as folder:
    compiled.save(Path(folder) / "digits")
    with polydl.load(Path(folder) / "digits") as loaded:
        again = np.array([loaded(image[None]).argmax() for image in images])
if (again != named).any() or (named == labels).mean() < 0.99:
    raise SystemExit("wrong result")
print("the package loaded from disk names them the same")
