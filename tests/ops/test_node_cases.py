"""Every single-node case of onnx.backend.test whose operator and types polydl supports, through the interpreter."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from polydl.errors import UnsupportedOperator
from polydl.ops import supported
from tests.ops.cases import NodeCase, check_equal, dtype_of, node_cases, run_node

CASES = [c for c in node_cases() if (c.domain, c.op_type) in supported()]

# Forms that are refused on purpose: case name -> words of the message.
REFUSED = {
    "test_nonzero_example": "shape of its result depends on the data",
    # The graph draws the mask from the seed (tests/graph/test_seeds.py); the operator alone has none.
    **{
        f"test_training_dropout{name}": "the elements to drop are not known"
        for name in ("", "_default", "_mask", "_default_mask")
    },
}


def skip_reason(case: NodeCase) -> str | None:
    """Why a case is outside what polydl promises; None where it must pass."""
    for value in (*case.inputs, *case.outputs):
        if value is None:
            continue
        if isinstance(value, onnx.TensorProto):  # how the suite gives values that numpy has no type for
            return f"element type {onnx.TensorProto.DataType.Name(value.data_type)}"
        if not isinstance(value, np.ndarray | np.generic):
            return "a sequence or optional value"
        if dtype_of(value) is None:
            return f"element type {value.dtype}"
    return None


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_node_case(case: NodeCase) -> None:
    reason = skip_reason(case)
    if reason is not None:
        pytest.skip(reason)
    outputs = [
        (name, np.float32, ()) if value is None else (name, value.dtype, np.shape(value))
        for name, value in zip(case.output_names, case.outputs, strict=True)
    ]
    if case.name in REFUSED:
        with pytest.raises(UnsupportedOperator, match=REFUSED[case.name]):
            run_node(case.op_type, case.inputs, outputs, case.attributes, case.opset, case.domain)
        return
    results = run_node(case.op_type, case.inputs, outputs, case.attributes, case.opset, case.domain)
    for actual, expected in zip(results, case.outputs, strict=True):
        if expected is not None:
            check_equal(actual, np.asarray(expected), case.rtol, case.atol)
