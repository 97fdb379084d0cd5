"""The mathematical functions that captured programs call, by their names in the modules math and numpy."""

from __future__ import annotations

from typing import Final

__all__ = ["ARITIES", "EXTREMES", "FUNCTIONS"]

FUNCTIONS: Final[dict[str, str]] = {  # of the modules math and numpy -> of the DSL
    "exp": "exp", "log": "log", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh",
    "sinh": "sinh", "cosh": "cosh", "asin": "asin", "acos": "acos", "atan": "atan", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "erf": "erf", "pow": "pow", "power": "pow", "floor": "floor",
    "ceil": "ceil", "trunc": "trunc", "fmod": "fmod", "fma": "fma",
}  # fmt: skip
EXTREMES: Final = {"min": "min", "max": "max", "minimum": "min", "maximum": "max", "fmin": "", "fmax": ""}
ARITIES: Final = {"pow": 2, "fmod": 2, "fma": 3}
