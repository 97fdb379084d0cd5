"""The models that ship inside the onnx package with inputs and outputs, through import, passes, groups and layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polydl.graph import load_model, optimize
from tests.graph.machine import run_lowered

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
CASES = [p for kind in ("pytorch-converted", "pytorch-operator") for p in sorted((DATA / kind).iterdir())]


def arrays(folder: Path, kind: str) -> list[np.ndarray[Any, Any]]:
    paths = sorted(folder.glob(f"{kind}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(str(p))) for p in paths]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name.removeprefix("test_"))
def test_case(case: Path) -> None:
    graph = optimize(load_model(case / "model.onnx"))
    for data in sorted(case.glob("test_data_set_*")):
        inputs = dict(zip(graph.inputs, arrays(data, "input")))
        for block in (None, 16):
            found = run_lowered(graph, inputs, block)
            for o, expected in zip(graph.outputs, arrays(data, "output")):
                np.testing.assert_allclose(found[o], expected, rtol=1e-3, atol=1e-5)


def test_all_cases_are_there() -> None:
    assert len(CASES) == 82 + 35
