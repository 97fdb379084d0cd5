"""Identifiers of generated C."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from polydl.codegen.cpu import symbol

__all__ = ["Names"]

_WORDS: Final = """
alignas alignof asm auto bool break case char const constexpr continue default do double else enum extern false float
for goto if inline int long nullptr register restrict return short signed sizeof static static_assert struct switch
thread_local true typedef typeof union unsigned void volatile while linux unix
isnan isinf NAN INFINITY HUGE OVERFLOW UNDERFLOW DOMAIN SING PLOSS TLOSS MAXFLOAT NULL INLINE NOINLINE
status barrier thread threads clamp_i32
"""  # keywords, macros of the headers, and what the generated function calls things itself
_RESERVED: Final = frozenset(_WORDS.split())
# Macros of the headers; types and helpers (see `Library`), which have a type in their names; the kernels.
_TAKEN: Final = re.compile(
    r"[A-Z][A-Z0-9]*_[A-Z0-9_]*|(.*_)?[fiu](8|16|32|64)(x\d+)?(_.*)?|.*_t|polydl_.*|_.*|k\d+_.*"
)


class Names:
    """Identifiers that are in use in one function: names resemble what they stand for, and no two are equal."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def fresh(self, name: str) -> str:
        """An unused identifier for `name`, from now on used."""
        base = symbol(name)
        if base[:1].isdigit() or not base:
            base = f"v{base}"
        if base in _RESERVED or _TAKEN.fullmatch(base):
            base = f"{base.lstrip('_')}_v"
            if not base[:1].isalpha() or base in _RESERVED or _TAKEN.fullmatch(base):
                base = f"v_{base}"
        choice, number = base, 1
        while choice in self._used:
            number += 1
            choice = f"{base}_v{number}"
        self._used.add(choice)
        return choice

    def release(self, names: Collection[str]) -> None:
        """End the scope of identifiers."""
        self._used -= set(names)
