"""The held-out samples of the trained digits network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["HOLDOUT", "MODEL", "Samples", "holdout"]

MODEL = Path(__file__).with_name("digits.onnx")
HOLDOUT = Path(__file__).with_name("holdout.npz")


class Samples(NamedTuple):
    """`images` float32 (n, 1, 8, 8), ink 0 to 1, as the model takes them; `labels` int64 (n,)."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def holdout() -> Samples:
    """The samples that training never saw."""
    with np.load(HOLDOUT, allow_pickle=False) as arrays:
        return Samples(arrays["images"], arrays["labels"])
