"""The suite's models of several nodes, node by node: each node gets the reference's inputs and must give its outputs.

These are the function bodies that define ONNX's composite operators (at many opsets and shapes), and the networks
exported by PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from polydl.ops import supported
from tests.ops.cases import attributes_of, check_equal, dtype_of, run_node


@cache
def models() -> Mapping[str, tuple[Any, list[Any]]]:
    """Name -> (model, inputs in order)."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    result: dict[str, tuple[Any, list[Any]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            if case.model is not None and len(case.model.graph.node) > 1:
                result[case.name] = (case.model, list(case.data_sets[0][0]))
    for kind in ("pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            files = sorted((folder / "test_data_set_0").glob("input_*.pb"), key=lambda p: int(p.stem[6:]))
            inputs = [numpy_helper.to_array(onnx.load_tensor(str(p))) for p in files]
            result[case.name] = (onnx.load(str(folder / "model.onnx")), inputs)
    return result


@pytest.mark.parametrize("name", models())
def test_nodes_of_model(name: str) -> None:
    model, given = models()[name]
    if any(isinstance(x, list | onnx.TensorProto) or x is None or dtype_of(x) is None for x in given):
        pytest.skip("an input of a type polydl does not have")
    table = supported()
    if all(("" if n.domain == "ai.onnx" else n.domain, n.op_type) not in table for n in model.graph.node):
        pytest.skip("no node of an operator polydl has")
    initial = {t.name for t in model.graph.initializer}
    feeds = dict(zip([i.name for i in model.graph.input if i.name not in initial], given, strict=True))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = ReferenceEvaluator(model).run(None, feeds, intermediate=True)
    values = {**{t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, **feeds, **values}
    checked = 0
    for node in model.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        opset = next(o.version for o in model.opset_import if o.domain in (node.domain, domain))
        inputs = [values[n] if n else None for n in node.input]
        outputs = [values.get(n) if n else None for n in node.output]
        plain = all(x is None or dtype_of(x) is not None for x in (*inputs, *outputs))
        if (domain, node.op_type) not in table or not plain or _refused(node, opset):
            continue
        wanted = [
            (n, np.float32, ()) if v is None else (n, v.dtype, np.shape(v))
            for n, v in zip(node.output, outputs, strict=True)
        ]
        inputs = [None if x is None else np.asarray(x) for x in inputs]
        results = run_node(node.op_type, inputs, wanted, attributes_of(node), opset, domain)
        for actual, expected in zip(results, outputs, strict=True):
            if expected is not None:
                check_equal(actual, np.asarray(expected), rtol=1e-4, atol=1e-5)
        checked += 1
    if not checked:
        pytest.skip("no node of operators, types and forms polydl has")


def _refused(node: onnx.NodeProto, opset: int) -> bool:
    """Forms that older opsets write and the importer rewrites, or that are refused on purpose."""
    attributes = attributes_of(node)
    if opset < 7 and node.op_type == "PRelu":
        return True  # its slopes are per channel there
    return bool(attributes.get("broadcast") or attributes.get("training_mode")) or node.op_type == "NonZero"
