"""Which values of Python stand for constants, and of which type."""

from __future__ import annotations

from numbers import Integral, Number
from typing import Any, Final

import numpy as np

from polydl.dtypes import BOOL, F32, INDEX, DType
from polydl.errors import InvalidProgram

__all__ = ["type_of_number"]

_COMMON: Final = {int: INDEX, float: F32, bool: BOOL}


def type_of_number(value: Any) -> DType:
    """The type that a number has by itself; InvalidProgram where `value` is none, or a complex one."""
    dtype = _COMMON.get(type(value))
    if dtype is not None:
        return dtype
    if isinstance(value, complex) or not isinstance(value, Number | np.bool_):
        raise InvalidProgram(
            f"a {type(value).__name__} stands where a number or an expression is needed",
            next="compute it first, and read an element of the result" if hasattr(value, "values") else "",
        )
    return INDEX if isinstance(value, Integral) else BOOL if isinstance(value, np.bool_) else F32
