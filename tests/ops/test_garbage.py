"""Nodes with broken attributes, shapes and inputs: an error of ours, or a function whose accesses are in bounds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dsl.polyhedral import scop_of
from polydl.dtypes import BOOL, F32, F64, I32, I64, U8, from_numpy
from polydl.errors import PolydlError
from polydl.ops import OpNode, lower, static_inputs, supported
from polydl.poly.dependences import bounds_violation
from tests.ops.cases import NodeCase, dtype_of, node_cases

MODELS = [
    c
    for c in node_cases()
    if (c.domain, c.op_type) in supported() and all(x is None or dtype_of(x) for x in (*c.inputs, *c.outputs))
]


def broken_shape(r: random.Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    result = list(shape)
    for _ in range(r.randint(0, 2)):
        change = r.choice(["drop", "insert", "set"])
        if change == "insert":
            result.insert(r.randint(0, len(result)), r.randint(0, 5))
        elif result and change == "drop":
            result.pop(r.randrange(len(result)))
        elif result:
            result[r.randrange(len(result))] = r.choice([0, 1, 2, 3, 7])
    return tuple(result)


def broken_attributes(r: random.Random, attributes: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in attributes.items():
        chance = r.random()
        if chance < 0.15:
            continue
        if chance < 0.4 and isinstance(value, int):
            value = r.choice([-7, -1, 0, 1, 2, 9])
        elif chance < 0.4 and isinstance(value, bytes):
            value = b"nonsense"
        elif chance < 0.4 and isinstance(value, tuple) and value:
            changed = [*value]
            changed[r.randrange(len(changed))] = r.choice([-3, -1, 0, 1, 5])
            value = tuple(changed[: r.choice([len(changed), len(changed) - 1])])
        result[name] = value
    return result


def broken_constant(r: random.Random, value: Any) -> Any:
    result = np.array(value)
    flat = result.reshape(-1)
    if flat.size and r.random() < 0.4:
        flat[r.randrange(flat.size)] = r.choice([0, 1, 2, 5] if flat.dtype.kind in "ub" else [-1, 0, 1, 2, 5])
    return flat[:-1] if r.random() < 0.1 else result


def try_case(r: random.Random, case: NodeCase) -> None:
    opset = r.choice([case.opset, case.opset, 7, 9, 11, 13, 18])
    static = static_inputs(case.op_type, case.domain, opset)
    b = FunctionBuilder("f")
    constants: dict[int, Any] = {}
    inputs: list[Tensor | None] = []
    for i, x in enumerate(case.inputs):
        if x is None or r.random() < 0.03:
            inputs.append(None)
        elif i in static:
            constants[i] = broken_constant(r, x)
            inputs.append(None)
        else:
            shape = broken_shape(r, np.shape(x)) if r.random() < 0.4 else np.shape(x)
            dtype = from_numpy(x.dtype) if r.random() < 0.9 else r.choice([F32, F64, I32, I64, U8, BOOL])
            inputs.append(b.input(f"x{i}", shape, dtype))
    outputs = tuple(
        (
            name,
            F32 if x is None else from_numpy(x.dtype),
            broken_shape(r, np.shape(x)) if r.random() < 0.2 else np.shape(x),
        )
        for name, x in zip(case.output_names, case.outputs, strict=True)
    )
    attributes = broken_attributes(r, dict(case.attributes))
    node = OpNode(case.op_type, case.domain, "broken", opset, attributes, constants, outputs)
    try:
        made = lower(b, node, inputs[: len(inputs) - (r.random() < 0.03)])
        function = b.build([t for t in made if t is not None])
    except PolydlError:
        return
    assert not function.computations or bounds_violation(scop_of(function)) is None


@pytest.mark.parametrize("seed", range(10))
def test_broken_nodes(seed: int) -> None:
    r = random.Random(seed)
    for _ in range(600):
        try_case(r, r.choice(MODELS))
