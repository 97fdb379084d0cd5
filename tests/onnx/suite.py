"""ONNX's backend suite on `polydl.onnx_backend`: its cases, and which are excluded and why.

`python -m tests.onnx.suite` prints the counts and every reason with its cases.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import onnx
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

from polydl.onnx_backend import PolydlBackend
from tests.onnx.exclusions import reason

KINDS: Final = {
    "Node": "node",
    "Simple": "simple",
    "PyTorchConverted": "pytorch-converted",
    "PyTorchOperator": "pytorch-operator",
    "Real": "real",
}
"""Category of BackendTest -> kind of case."""


@dataclass(frozen=True)
class Case:
    """`run` prepares and runs the case's model and compares. `excluded`: why it need not pass."""

    category: str
    name: str
    run: Callable[[], None]
    excluded: str | None

    def __repr__(self) -> str:
        return f"{self.category}-{self.name}"


@cache
def cases() -> tuple[Case, ...]:
    """Every case of the suite, for the CPU."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes = BackendTest(PolydlBackend, __name__).test_cases
        for category, kind in KINDS.items():
            methods = classes[f"OnnxBackend{category}ModelTest"]
            for case in load_model_tests(kind=kind):
                method = getattr(methods, f"{case.name}_cpu")
                model = case.model or _model(case.model_dir)
                found.append(
                    Case(category, case.name, _bound(methods, method), reason(category, case.name, model))
                )
    return tuple(found)


def _model(folder: str | None) -> onnx.ModelProto:
    return onnx.ModelProto() if folder is None else onnx.load(Path(folder, "model.onnx"))


def _bound(methods: type, method: Callable[..., None]) -> Callable[[], None]:
    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the suite's own comparisons warn of overflow
            method(methods())

    return run


def _report() -> None:
    for category in KINDS:
        mine = [c for c in cases() if c.category == category]
        run = sum(c.excluded is None for c in mine)
        print(f"{category}: {len(mine)} cases, {run} must pass, {len(mine) - run} excluded")
    reasons: dict[str, list[str]] = defaultdict(list)
    for c in cases():
        if c.excluded is not None:
            reasons[c.excluded].append(c.name)
    for why, count in Counter({w: len(n) for w, n in reasons.items()}).most_common():
        print(f"\n{count} excluded: {why}\n  {' '.join(sorted(reasons[why]))}")


if __name__ == "__main__":
    _report()
