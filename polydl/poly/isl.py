"""The door to isl: one context per thread, every call under a deterministic operations budget, objects cached by text.

isl counts its own elementary operations (allocations and pivots), so a budget means the same on every machine. A
computation that exceeds it raises `PolyhedralBlowup` and leaves the context usable. isl objects never leave
`polydl.poly`: its public functions take and return text, numbers and the dataclasses of this package.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import islpy

from polydl.errors import InvalidProgram, PolyhedralBlowup

__all__ = [
    "DEFAULT_OPERATIONS",
    "budget",
    "guarded",
    "least",
    "map_of",
    "operations_spent",
    "remember_map",
    "set_of",
    "thread_context",
]

DEFAULT_OPERATIONS = 20_000_000  # about one to two seconds of isl on one 2024 core
_CACHE_ENTRIES = 4096

P = ParamSpec("P")
R = TypeVar("R")


class _Thread(threading.local):
    """What one thread owns: its context, its parsed objects and the budget in force (0: none)."""

    def __init__(self) -> None:
        self.context = islpy.Context()
        self.context.set_on_error(islpy.on_error.CONTINUE)
        self.context.set_ast_build_detect_min_max(True)
        self.objects: OrderedDict[tuple[str, str], object] = OrderedDict()
        self.limit = 0
        self.probes = 0  # operations that were only our own counting


_thread = _Thread()


def thread_context() -> islpy.Context:
    """The isl context of the calling thread."""
    return _thread.context


def _exhausted() -> bool:
    """Whether the budget is used up: making an isl number takes exactly one operation and cannot fail otherwise."""
    try:
        islpy.Val.int_from_si(_thread.context, 12345)
    except islpy.Error:
        return True
    return False


def operations_spent() -> int:
    """isl operations done by this thread since its outermost `budget` (or guarded call) began.

    isl offers no counter to read, so the count is found by bisecting the limit at which the next operation fails.
    """
    context, restore = _thread.context, _thread.context.get_max_operations()
    low, high, made = 0, 1 << 40, 0  # low <= spent < high; `made` counts our own probes
    while high - low > 1:
        middle = (low + high) // 2
        context.set_max_operations(middle + made)
        if _exhausted():
            low = middle
        else:
            high = middle
            made += 1
    context.set_max_operations(restore)
    counted = low - _thread.probes
    _thread.probes += made
    return counted


@contextmanager
def budget(operations: int) -> Iterator[None]:
    """Limit isl to so many operations inside; an inner budget never extends an outer one.

    Raises `PolyhedralBlowup` from the call that exceeds it.
    """
    context, outer = _thread.context, _thread.limit
    if outer:
        limit = min(outer, operations_spent() + _thread.probes + operations)
    else:
        context.reset_operations()
        _thread.probes = 0
        limit = operations
    _thread.limit = limit
    context.set_max_operations(limit)
    try:
        yield
    except islpy.Error as error:
        if _exhausted():
            raise PolyhedralBlowup(
                f"isl used up its budget of {operations} operations",
                why="the integer sets of this schedule are too complicated",
                next="use fewer or simpler transformations, or constant sizes",
            ) from None
        raise InvalidProgram("isl refused an integer set", why=str(error).splitlines()[0]) from None
    finally:
        _thread.limit = outer
        context.set_max_operations(outer)


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Runs a public function under the default budget, unless the caller has set one."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _thread.limit:
            return function(*args, **kwargs)
        with budget(DEFAULT_OPERATIONS):
            return function(*args, **kwargs)

    return call


def least(points: islpy.Set) -> islpy.Set:
    """The lexicographically smallest of some points, as an example to show; all of them where isl fails to find it
    ("affine expression involves some of the domain dimensions", of sets that it splits into factors)."""
    try:
        return points.lexmin()
    except islpy.Error:
        if _exhausted():
            raise
        return points


def _parsed(kind: str, text: str, parse: Callable[[islpy.Context, str], object]) -> object:
    key = (kind, text)
    objects = _thread.objects
    if key in objects:
        objects.move_to_end(key)
        return objects[key]
    try:
        value = parse(_thread.context, text)
    except islpy.Error as error:
        if _exhausted():
            raise
        why = str(error).splitlines()[0]
        raise InvalidProgram(f"isl cannot read the {kind} '{text}'", why=why) from None
    _store(key, value)
    return value


def _store(key: tuple[str, str], value: object) -> None:
    _thread.objects[key] = value
    if len(_thread.objects) > _CACHE_ENTRIES:
        _thread.objects.popitem(last=False)


def remember_map(relation: islpy.Map) -> str:
    """The text of a relation; `map_of` of it will not parse again."""
    text = str(relation)
    _store(("relation", text), relation)
    return text


def set_of(text: str) -> islpy.Set:
    """The isl set spelled by `text`; parsed once per thread."""
    return _parsed("set", text, islpy.Set.read_from_str)


def map_of(text: str) -> islpy.Map:
    """The isl relation spelled by `text`; parsed once per thread."""
    return _parsed("relation", text, islpy.Map.read_from_str)
