"""polydl compiles loop nests: neural networks from ONNX files, and kernels written in Python.

    import polydl
    module = polydl.build("model.onnx")          # compile for this machine and load
    outputs = module.run({"x": array})           # numpy in, numpy out

    module = polydl.load("out/")                 # a package that `polydl build` wrote; needs no compiler

Names are imported on first use, so that `import polydl` and loading a package stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from polydl._version import __version__

if TYPE_CHECKING:
    from polydl.certificate import check_certificate
    from polydl.compiler import Compiled, build, compile_model
    from polydl.jit import LoopProgram, loops
    from polydl.runtime import Module, load
    from polydl.scheduler.automatic import optimize

__all__ = [
    "Compiled",
    "LoopProgram",
    "Module",
    "__version__",
    "build",
    "check_certificate",
    "compile_model",
    "load",
    "loops",
    "optimize",
]

_LAZY: Final = {
    "Compiled": "polydl.compiler",
    "Module": "polydl.runtime",
    "build": "polydl.compiler",
    "check_certificate": "polydl.certificate",
    "compile_model": "polydl.compiler",
    "load": "polydl.runtime",
    "loops": "polydl.jit",
    "optimize": "polydl.scheduler.automatic",
    "LoopProgram": "polydl.jit",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'polydl' has no attribute '{name}'")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
