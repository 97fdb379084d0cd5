"""Networks of odd shapes down the whole road, against onnxruntime: each is drawn from a seed.

`POLYDL_ODD_NETWORKS=1000:3000 pytest tests/networks/test_odd.py` runs those seeds.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.networks.odd import draw, reference
from tests.networks.peer import LEVELS, outputs, runnable

FIRST, LAST = (int(n) for n in os.environ.get("POLYDL_ODD_NETWORKS", "0:40").split(":"))
RTOL, ATOL = 1e-3, 2e-4


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_odd_network(seed: int) -> None:
    case = draw(seed)
    expected = reference(case.single, {"x": case.x})
    levels = [level for level in LEVELS if runnable(level)]
    found = outputs(case.model, case.inputs, target=levels[seed % len(levels)], threads=case.threads)
    for name, value in expected.items():
        size = float(np.max(np.abs(value), initial=0, where=np.isfinite(value)))
        np.testing.assert_allclose(
            found[name], value, RTOL, ATOL * max(size, 1e-2), err_msg=f"{name}: {case.steps}"
        )
